"""Trees held as arrays: canonical form, spectra, rounding, against dense linear algebra."""

import numpy as np
import pytest
import torch

import tnkit as tk
import tnkit_nn as tknn

TREES = {
    "tt": tk.tt((3, 4, 2, 5), (3, 5, 4)),
    "mpo": tk.mpo((2, 3, 2), (3, 1, 4), 5),
    "tree": tk.tree((2, 3, 1, 5, 3), 4),
    "tucker": tk.tucker((3, 4, 5), (2, 3, 4)),
    "low_rank": tk.low_rank((5, 6), 4),
    "one": tk.tt((4,), 1),
}


def arrays_of(net, seed, kind="real", library="numpy"):
    arrays = tk.init.normal(net, seed=seed)
    if kind == "complex":
        more = tk.init.normal(net, seed=seed + 1)
        arrays = {n: a + 1j * more[n] for n, a in arrays.items()}
    return arrays if library == "numpy" else {n: torch.from_numpy(a) for n, a in arrays.items()}


def matrix(net, x, bond):
    """The dense tensor as a matrix, one side of a bond against the other."""
    side, grown = {net.edges[bond][0]}, True
    while grown:
        grown = False
        for i, ends in net.edges.items():
            if i != bond and len(ends) == 2 and len(side & set(ends)) == 1:
                side |= set(ends)
                grown = True
    rows = [k for k, i in enumerate(net.output) if net.edges[i][0] in side]
    rest = [k for k in range(x.ndim) if k not in rows]
    return x.transpose(*rows, *rest).reshape(int(np.prod([x.shape[k] for k in rows])), -1)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("name", TREES)
def test_canonical_form(name, kind, library):
    net, backend = TREES[name], tk.NUMPY if library == "numpy" else tknn.TORCH
    arrays = arrays_of(net, 0, kind, library)
    x = np.asarray(tk.contract(net, arrays, backend=backend))
    for center in [None, *(n.name for n in net.nodes)]:
        form, moved = tk.canonicalize(net, arrays, center, backend=backend)
        assert np.allclose(np.asarray(tk.contract(form, moved, backend=backend)), x, atol=1e-12)
        norms = {n.name: float(np.linalg.norm(np.asarray(moved[n.name]))) for n in form.nodes}
        if center:
            assert norms[center] == pytest.approx(np.linalg.norm(x))
            for node in form.nodes:  # every other node is an isometry from its bond towards the centre
                if node.name != center:
                    bond = next(b for b in node.inds if b not in net.output and towards(net, node.name, b, center))
                    a = np.moveaxis(np.asarray(moved[node.name]), node.inds.index(bond), -1)
                    q = a.reshape(-1, a.shape[-1])
                    assert np.allclose(q.conj().T @ q, np.eye(q.shape[1]))
    assert all(
        np.array_equal(np.asarray(a), b) for a, b in zip(arrays.values(), arrays_of(net, 0, kind).values(), strict=True)
    )


def towards(net, node, bond, center):
    """Whether the bond leads from the node to the centre."""
    seen, queue = {node}, [next(n for n in net.edges[bond] if n != node)]
    while queue:
        here = queue.pop()
        seen.add(here)
        queue += [n for i in net[here].inds for n in net.edges[i] if n not in seen]
    return center in seen


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("name", TREES)
def test_spectra_and_entropies(name, kind, library):
    net, backend = TREES[name], tk.NUMPY if library == "numpy" else tknn.TORCH
    arrays = arrays_of(net, 3, kind, library)
    x = np.asarray(tk.contract(net, arrays, backend=backend))
    spectra = tk.bond_spectrum(net, arrays, backend=backend)
    entropies = tk.bond_entropy(net, arrays, backend=backend)
    second = tk.bond_entropy(net, arrays, order=2, backend=backend)
    assert set(spectra) == {i for i in net.sizes if i not in net.output} == set(entropies)
    for bond, s in spectra.items():
        dense = np.linalg.svd(matrix(net, x, bond), compute_uv=False)
        s = np.asarray(s)
        assert np.allclose(s, dense[: len(s)]) and np.allclose(dense[len(s) :], 0, atol=1e-12)
        p = dense[dense > 1e-12] ** 2 / np.sum(dense**2)
        assert float(entropies[bond]) == pytest.approx(-np.sum(p * np.log(p)), abs=1e-12)
        assert float(second[bond]) == pytest.approx(-np.log(np.sum(p**2)), abs=1e-12)


def test_known_entropies():
    ghz, one = np.zeros((2, 2, 2)), np.ones((2, 2, 2))
    ghz[0, 0, 0] = ghz[1, 1, 1] = 3.0
    assert list(tk.bond_entropy(*tk.tt_svd(ghz)).values()) == pytest.approx([np.log(2)] * 2)
    assert list(tk.bond_entropy(*tk.tt_svd(one)).values()) == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("name", TREES)
def test_round(name, kind, library):
    net, backend = TREES[name], tk.NUMPY if library == "numpy" else tknn.TORCH
    arrays = arrays_of(net, 5, kind, library)
    x = np.asarray(tk.contract(net, arrays, backend=backend))
    for options in ({"rank": 2}, {"rank": 1}, {"tol": 0.3}, {"tol": 1e-12}, {}):
        found = tk.round(net, arrays, backend=backend, **options)
        y = np.asarray(tk.contract(*found, backend=backend))
        error = np.linalg.norm(x - y) / np.linalg.norm(x)
        assert found.error == pytest.approx(error, abs=1e-10)
        assert error <= options.get("tol", 1) + 1e-12
        assert max(found.network.sizes[b] for b in found.methods) <= options.get("rank", 9) if found.methods else True
        again = tk.round(*found, backend=backend, **({"rank": 2} if "rank" in options else {"tol": 1e-9}))
        assert again.network == found.network and again.error < 1e-9
        assert np.allclose(np.asarray(tk.contract(*again, backend=backend)), y, atol=1e-9)
        dense = tk.tree_svd(x, net, rank=options.get("rank"), tol=options.get("tol", 0.0) if options else 1e-12)
        assert error <= 1.3 * dense.error + 1e-9  # the same algorithm on the array, in another order


def test_round_undoes_a_sum_and_keeps_a_budget():
    net = tk.tt((4,) * 6, 3)
    arrays = tk.init.normal(net, seed=0)
    nodes = {}
    for k, (name, a) in enumerate(arrays.items()):  # the same tensor twice over: blocks on the diagonal of both bonds
        left, right = (1, 2)[k > 0], (1, 2)[k < 5]
        core = a.reshape(a.shape[0] if k else 1, 4, -1)
        big = np.zeros((left, core.shape[0], 4, right, core.shape[2]))
        for j in range(2):
            big[j % left, :, :, j % right] += core
        nodes[name] = (
            big.reshape([n for n in (left * core.shape[0], 4, right * core.shape[2]) if n > 1]),
            net[name].inds,
        )
    twice, held = tk.from_arrays(nodes, output=net.output)
    found = tk.round(twice, held, tol=1e-10)
    assert found.network.num_params == net.num_params
    assert np.allclose(tk.contract(*found), 2 * tk.contract(net, arrays))
    for budget in (24, 60, 120, 150):
        small = tk.round(twice, held, budget=budget)
        y = tk.contract(*small)
        assert small.network.num_params <= budget
        assert small.error == pytest.approx(
            np.linalg.norm(2 * tk.contract(net, arrays) - y) / np.linalg.norm(tk.contract(twice, held))
        )
    assert small.error < 0.6


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_tensor_of_ten_to_the_thirty_entries(library):
    backend = tk.NUMPY if library == "numpy" else tknn.TORCH
    for net in (tk.tt((2,) * 100, 8), tk.tree((2,) * 100, 8)):
        arrays = arrays_of(net, 0, library=library)
        found = tk.round(net, arrays, tol=1e-3, backend=backend)
        assert found.error <= 1e-3
        spectra = tk.bond_spectrum(*tk.canonicalize(net, arrays, backend=backend), backend=backend)
        sums = [float((s**2).sum()) for s in spectra.values()]
        assert sums == pytest.approx([sums[0]] * len(sums), rel=1e-9)
        assert np.sqrt(sums[0]) == pytest.approx(2.0**50, rel=0.9)  # mean square 1


@pytest.mark.slow
def test_a_chain_of_ten_thousand_nodes_needs_no_recursion():
    net = tk.tt((2,) * 10_000, 2)
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 2)))[0].reshape(2, 2, 2)
    arrays = {n.name: q for n in net.nodes} | {"core_0": np.eye(2), "core_9999": np.eye(2) / np.sqrt(2)}
    spectra = tk.bond_spectrum(net, arrays)
    assert all(float((s**2).sum()) == pytest.approx(1) for s in spectra.values())


def test_gradients():
    net = tk.tt((3, 2, 3), 2)
    arrays = {n: a.requires_grad_() for n, a in arrays_of(net, 0, library="torch").items()}

    def entropy(*values):
        return sum(tk.bond_entropy(net, dict(zip(arrays, values, strict=True))).values())

    def rounded(*values):
        found = tk.round(net, dict(zip(arrays, values, strict=True)), rank=1)
        return tk.contract(*found)

    assert torch.autograd.gradcheck(entropy, tuple(arrays.values()))
    assert torch.autograd.gradcheck(rounded, tuple(arrays.values()))
    zero = {n: torch.zeros_like(a).requires_grad_() for n, a in arrays.items()}
    rounded(*zero.values()).sum().backward()
    assert all(torch.isfinite(a.grad).all() for a in zero.values())


def test_refusals():
    net = tk.tt((2, 2), 2)
    arrays = tk.init.normal(net, seed=0)
    with pytest.raises(ValueError, match="canonicalize: no node 'core_7' to be the centre; there are core_0, core_1"):
        tk.canonicalize(net, arrays, "core_7")
    with pytest.raises(ValueError, match="bond_entropy: order is a positive number, not 0"):
        tk.bond_entropy(net, arrays, order=0)
    with pytest.raises(ValueError, match=r"bond_spectrum: nodes .* form a loop"):
        tk.bond_spectrum(tk.ring((2, 2, 2), 2), tk.init.normal(tk.ring((2, 2, 2), 2), seed=0))
    with pytest.raises(ValueError, match="round: not even ranks of 1 fit a budget of 3"):
        tk.round(net, arrays, budget=3)
    with pytest.raises(ValueError, match="index 'b1' has size 2, but its array has 3"):
        tk.round(net, {**arrays, "core_0": np.ones((2, 3))}, rank=1)


def test_entropies_of_every_order_are_continuous():
    net = tk.tt((3, 4, 3), 2)
    arrays = tk.init.normal(net, seed=0)
    for bond, s in tk.bond_spectrum(net, arrays).items():
        p = s**2 / np.sum(s**2)

        def entropy(order, bond=bond):
            return float(tk.bond_entropy(net, arrays, order=order)[bond])

        assert entropy(np.inf) == pytest.approx(-np.log(p.max()))
        assert entropy(1) == pytest.approx(-np.sum(p * np.log(p)))
        for order in (1 - 1e-15, 1 + 1e-15, 1 - 1e-9, 1 + 1e-9):
            assert entropy(order) == pytest.approx(entropy(1), rel=1e-7)
        for order in (0.5, 0.95, 1.05, 2, 3.5):
            assert entropy(order) == pytest.approx(np.log(np.sum(p**order)) / (1 - order), rel=1e-9)
        assert entropy(1e4) == pytest.approx(entropy(np.inf), rel=1e-3)


def test_half_precision_is_rounded_in_single():
    net = tk.tt((4, 4, 4), 3)
    arrays = {n: a.astype(np.float16) for n, a in tk.init.normal(net, seed=0).items()}
    wide = {n: a.astype(np.float64) for n, a in arrays.items()}
    found = tk.round(net, arrays, rank=2)
    assert {a.dtype for a in found.arrays.values()} == {np.dtype(np.float32)}
    assert found.error == pytest.approx(tk.round(net, wide, rank=2).error, rel=1e-4)
