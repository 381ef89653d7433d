"""Running plans: many indices, many axes, a dynamic batch, constants, dtypes, views."""

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.execution.inputs import check_arrays, constant
from tnkit.execution.run import contract, run
from tnkit.planning.planner import plan
from tnkit_nn.engine.backend import TORCH


def chain(n, size=3, open_=1, output=()):
    """A chain of n nodes with bonds b0, b1, ... and an index o0, o1, ... of size ``open_`` on each."""
    nodes = [Node(f"A{k}", [f"b{i}" for i in (k - 1, k) if 0 <= i < n - 1] + [f"o{k}"]) for k in range(n)]
    return Network(nodes, output, {f"b{k}": size for k in range(n - 1)} | {f"o{k}": open_ for k in range(n)})


def fill(net, seed=0):
    rng = np.random.default_rng(seed)
    return {k: rng.normal(size=s) / 3**0.5 for k, s in net.array_shapes.items()}


def product(arrays, n):
    """The chain's value with every open index summed."""
    want = arrays["A0"].sum(-1)
    for k in range(1, n):
        want = want @ arrays[f"A{k}"].sum(-1)
    return want


@pytest.mark.parametrize("optimizer", ["auto", "greedy", "random-greedy"])
def test_chain_of_eighty_indices_of_size_one(optimizer):
    net = chain(80, output=[f"o{k}" for k in range(60)])
    arrays = fill(net)
    got = contract(net, arrays, optimizer=optimizer)
    assert got.shape == (1,) * 60 and np.allclose(got.ravel(), product(arrays, 80))


def test_more_axes_of_size_one_than_numpy_has_on_the_way():
    """Eighty axes of size 1 in an intermediate: dropped on the way, since numpy and torch stop at 64."""
    n = 80
    line = chain(n)
    caps = [Node(f"C{k}", [f"o{k}"]) for k in range(n)]

    def spine_first(inputs, output, sizes, memory_limit):
        path, left = [(0, 1)], 2 * n - 1
        for _ in range(n - 2):  # the running product is last, the next node of the chain first
            path.append((0, left - 1))
            left -= 1
        return path + [(0, left - 1 - k) for k in range(left - 1)]

    net = Network((*line.nodes, *caps), ["o3", "o70"], line.sizes)
    arrays = fill(net)
    want = product(arrays, n) * np.prod([arrays[f"C{k}"][0] for k in range(n)])
    got = run(plan(net, spine_first), check_arrays(net, arrays))
    assert got.shape == (1, 1) and np.allclose(got, want)
    x = {k: torch.tensor(a) for k, a in arrays.items()}
    assert np.allclose(run(plan(net, spine_first), x), want)


@pytest.mark.parametrize("ends", [(), ("o0",), ("o0", "o199"), ("o100", "o7", "o150")])
def test_chain_of_two_hundred_nodes(ends):
    net = chain(200, open_=2, output=ends)
    arrays = fill(net)
    got = contract(net, arrays)
    assert got.shape == (2,) * len(ends) and np.allclose(got.sum(), product(arrays, 200))
    assert np.allclose(contract(net, {k: torch.tensor(a) for k, a in arrays.items()}), got)


def batched():
    x, a = Node("x", "bi", fixed=True), Node("A", "io")
    inner = Network([x, a, Node("m", "b", fixed=True)], "bo", dict(b=4, i=3, o=5)).activate("tanh", "f")
    return Network([*inner.nodes, Node("B", "op"), Node("y", "bp", fixed=True)], "pb", dict(b=4, p=2))


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("optimizer", ["auto", "greedy", "random-greedy"])
def test_dynamic_batch(optimizer, backend):
    net = batched()
    p = plan(net, optimizer, dynamic="b")
    assert p.dynamic == "b" and p is plan(batched(), optimizer, dynamic="b")
    for b in (1, 2, 4, 7, 100):
        rng = np.random.default_rng(b)
        arrays = {k: rng.normal(size=[b if i == 4 else i for i in s]) for k, s in net.array_shapes.items()}
        x, a, m, w, y = (arrays[k] for k in "xAmBy")
        want = (np.tanh((x @ a) * m[:, None]) @ w * y).T
        full = check_arrays(net, arrays, dynamic="b")
        got = run(p, {k: torch.tensor(v) for k, v in full.items()}) if backend == "torch" else run(p, full)
        assert got.shape == (2, b) and np.allclose(got, want)


def test_dynamic_for_every_place_of_the_index():
    rng = np.random.default_rng(0)
    for inds in ("bij", "ibj", "ijb"):
        for other in ("bjk", "jbk", "jkb", "jk"):
            for out in ("bik", "ibk", "kib"):
                net = Network([Node("A", inds), Node("B", other)], out, dict(b=2, i=3, j=4, k=5))
                for b in (1, 6):
                    sizes = dict(b=b, i=3, j=4, k=5)
                    x, y = (rng.normal(size=[sizes[i] for i in t]) for t in (inds, other))
                    got = run(plan(net, dynamic="b"), {"A": x, "B": y})
                    assert np.allclose(got, np.einsum(f"{inds},{other}->{out}", x, y))


def test_constants():
    assert np.array_equal(constant("delta", (2, 3)), np.eye(2, 3)) and constant("delta", ()) == 1
    assert constant("e0", (2, 2)).tolist() == [[1, 0], [0, 0]] and constant("ones", (2,)).tolist() == [1, 1]
    assert constant("e0", ()) == 1
    net = Network([Node("d", "ijk", fixed="delta")], "ijk", dict(i=2, j=2, k=2))
    assert np.array_equal(contract(net, {}), constant("delta", (2, 2, 2)))
    got = contract(net, {}, backend=TORCH)
    assert isinstance(got, torch.Tensor) and got.sum() == 2
    diagonal = Network([Node("A", "i"), Node("d", "ijk", fixed="delta")], "jk", dict(i=3, j=3, k=3))
    x = torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(contract(diagonal, {"A": x}), torch.diag(x))
    full = check_arrays(diagonal, {"A": x}, TORCH)
    assert full["d"].dtype == torch.float32 and full["A"] is x
    assert np.allclose(contract(diagonal, {"A": x.numpy(), "d": np.ones((3, 3, 3))}), 6)  # given constants are used


def test_numpy_mixes_dtypes():
    net = Network([Node("A", "ir"), Node("B", "rj")], "ij", dict(i=2, j=2, r=2))
    got = contract(net, {"A": np.ones((2, 2), np.float32), "B": np.ones((2, 2), np.complex64)})
    assert got.dtype == np.complex64 and np.all(got == 2)


def test_arrays_are_left_alone_and_may_be_strided():
    net = Network([Node("A", "ir"), Node("B", "rj"), Node("C", "jj")], "i", dict(i=3, j=4, r=5))
    arrays = fill(net)
    before = {k: a.copy() for k, a in arrays.items()}
    want = contract(net, arrays)
    assert all(np.array_equal(arrays[k], before[k]) for k in arrays)
    odd = {k: np.asfortranarray(a) for k, a in arrays.items()}
    for a in (*odd.values(), *arrays.values()):
        a.flags.writeable = False
    assert np.allclose(contract(net, odd), want)
    assert np.allclose(contract(net, {k: np.repeat(a, 2, axis=0)[::2] for k, a in arrays.items()}), want)


# -- arrays that no run takes -----------------------------------------------------------------------------------------
TRAIN = tk.tt((2, 3, 2), 2)


def _tensors(**wrong):
    made = {n: torch.as_tensor(a) for n, a in tk.init.normal(TRAIN).items()}
    return made | {n: change(made[n]) for n, change in wrong.items()}


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (lambda x: x.float(), ValueError, "torch does not mix dtypes: .*array 'core_0' is torch.float32"),
        (lambda x: x.bool(), TypeError, "array 'core_0' has dtype torch.bool"),
        (lambda x: x.float().to_sparse(), TypeError, "array 'core_0' is sparse_coo, no plain tensor"),
    ],
)
def test_a_run_names_the_tensor_at_fault(change, kind, said):
    with pytest.raises(kind, match=said):
        tk.run(tk.plan(TRAIN), _tensors(core_0=change))


def test_arrays_on_two_devices_are_named():
    with pytest.raises(ValueError, match=r"arrays of one call are on one device: .*'core_0' is on meta"):
        tk.contract(TRAIN, _tensors(core_0=lambda x: x.to("meta")))


@pytest.mark.parametrize("arrays", [[1], np.zeros(2, [("core_0", "f8")]), "core_0"])
def test_a_run_takes_a_mapping_alone(arrays):
    with pytest.raises(TypeError, match="run: arrays map names to values"):
        tk.run(tk.plan(TRAIN), arrays)


def test_a_function_that_fails_raises_its_own_error():
    def fails(xp, x):
        raise ZeroDivisionError("mine")

    net = TRAIN.activate(fails, "f")
    with pytest.raises(ZeroDivisionError, match="mine"):
        tk.run(tk.plan(net), tk.init.normal(TRAIN))
