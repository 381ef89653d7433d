"""Networks of any depth: everything works twelve hundred levels down, in time that grows with the depth and no faster."""

import copy
import pickle

import numpy as np
import pytest
import torch
from work import counted

import tnkit as tk
from tnkit.core.inside import all_indices
from tnkit.core.names import names_in
from tnkit.core.network import folded, inside_out, levels
from tnkit.testing import oracle, random_network

LEVELS = 1200  # more than the 1,000 calls within calls that Python allows


def tower(height, last="A"):
    net = tk.Network([tk.Node(last, "i")], "i", dict(i=2))
    for k in range(height):
        net = net.activate("tanh", f"f{k}")
    return net


def wall(depth):
    return tk.brick_wall(4, 2, depth, "tanh")


@pytest.fixture(scope="module", params=["tower", "wall"])
def deep(request):
    net = {"tower": tower, "wall": wall}[request.param](LEVELS)
    rng = np.random.default_rng(0)
    return net, {name: rng.normal(size=shape) for name, shape in net.array_shapes.items()}


@pytest.mark.slow
def test_a_deep_network_is_a_value(deep):
    net, _ = deep
    again = pickle.loads(pickle.dumps(net))
    assert again is not net and again == net and hash(again) == hash(net) and {net: 1}[again] == 1
    assert copy.deepcopy(net) == net and copy.copy(net) == net
    node = next(n for n in net.nodes if isinstance(n, tk.Elementwise))
    assert pickle.loads(pickle.dumps(node)) == node and copy.deepcopy(node) == node
    bottom = net.leaves[0].name
    other = net.relabel(nodes=lambda n: "other" if n == bottom else n)
    assert other != net and again.relabel(nodes={bottom: "other"}) == other


def test_what_is_the_same_hash_and_another_value():
    """Where hashes agree by chance, values are compared to the bottom."""
    one, two = tower(LEVELS), tower(LEVELS, "B").relabel(arrays=dict(B="A"))
    assert one != two and hash(one) != hash(two)
    for net in (one, two):
        for part in inside_out(net):
            object.__setattr__(part, "_hash", 0)
    assert hash(one) == hash(two) and one != two
    three = tower(LEVELS)
    for part in inside_out(three):
        object.__setattr__(part, "_hash", 0)
    assert one == three


@pytest.mark.slow
def test_a_deep_network_reads_and_changes(deep):
    net, _ = deep
    tower_ = len(net.leaves) == 1
    assert repr(net) in str(net) and f"[{LEVELS if tower_ else LEVELS - 1}] " in str(net)
    assert len(list(net.regions())) == len(levels(net)) == (LEVELS + 1 if tower_ else LEVELS)
    assert len(tk.explain(net).levels) == len(levels(net)) - 1 and "body 0 of" in str(tk.explain(net))
    renamed = net.relabel(lambda i: f"{i}'", lambda n: f"n.{n}", lambda a: f"a.{a}")
    assert [leaf.name for leaf in renamed.leaves] == [f"n.{leaf.name}" for leaf in net.leaves]
    assert list(renamed.array_shapes.values()) == list(net.array_shapes.values())
    assert all_indices(renamed) == {f"{i}'" for i in all_indices(net)}
    joined = net.join(renamed)
    assert joined.num_params == 2 * net.num_params and joined.shape == net.shape * 2
    with pytest.raises(ValueError, match=f"two nodes are called {net.leaves[0].name!r}"):
        net.join(net.relabel(lambda i: f"{i}'", arrays=lambda a: f"a.{a}"))
    assert tk.environment(joined, renamed.nodes[-1].name).num_params >= net.num_params


@pytest.mark.slow
def test_a_deep_network_is_contracted(deep):
    net, arrays = deep
    want = oracle(net, arrays)
    assert np.abs(want).max() > 1e-3
    full = tk.check_arrays(net, arrays)
    found = tk.contract(net, full)
    assert np.allclose(found, want, atol=1e-12)
    assert tk.plan(net) is tk.plan(pickle.loads(pickle.dumps(net)))
    tensors = {name: torch.tensor(a, requires_grad=True) for name, a in arrays.items()}
    result = tk.contract(net, tensors)
    assert np.allclose(result.detach().numpy(), want, atol=1e-12)
    result.sum().backward()
    assert all(torch.isfinite(t.grad).all() for t in tensors.values())
    plan = tk.plan(net)
    assert pickle.loads(pickle.dumps(plan)) == plan and len(str(plan).splitlines()) > LEVELS


def test_a_slice_of_a_deep_network():
    net = tower(LEVELS).join(tk.Network([tk.Node("B", "j")], "j", dict(j=3)))
    x = np.array([0.5, -1.0]), np.array([1.0, 2.0, 3.0])
    want = tk.contract(net, {"A": x[0], "B": x[1]})
    assert np.allclose(tk.run(tk.plan(net, slices=3), {"A": x[0], "B": x[1]}), want)


@pytest.mark.slow
def test_the_work_grows_with_the_depth():
    """Eight times the levels are eight times the calls."""

    def work(make, height):
        def once():
            net = make(height)
            pickle.loads(pickle.dumps(net))
            net.relabel(lambda i: f"{i}'")
            tk.from_json(tk.to_json(net))

        return counted(once)[0]

    for make in (tower, wall):
        assert work(make, 1600) < 9 * work(make, 200)


# -- what is inside, told by tables that are shared, against a walk --------------------------------------------------
def walked(net):
    """Names, arrays and summed indices at every depth, by recursion."""
    names, arrays = {n.name for n in net.nodes}, {n.array for n in net.nodes if isinstance(n, tk.Node)}
    inds = set(net.sizes)
    for node in net.nodes:
        for body in getattr(node, "bodies", ()):
            inner = walked(body)
            names, arrays, inds = names | inner[0], arrays | inner[1], inds | inner[2]
    return names, arrays, inds


@pytest.mark.parametrize("seed", range(60))
def test_what_is_inside(seed):
    net, _ = random_network(seed, nonlinear=True)
    names, arrays, inds = walked(net)
    assert names_in(net) == names | arrays | inds and all_indices(net) == inds
    assert list(net.inside.rows()) == list(dict.fromkeys(net.inside.rows()))
    count = folded(net, lambda part, below: sum(below) + sum(isinstance(n, tk.Node) for n in part.nodes))
    assert count == len(net.leaves)


def test_networks_that_grow_out_of_one_do_not_see_each_other():
    base = tower(5)
    left, right = base.activate("relu", "left"), base.activate("relu", "right")
    again = base.activate("sin", "left")
    assert names_in(left) - names_in(base) == {"left"} and names_in(right) - names_in(base) == {"right"}
    assert left != again and again.activate("sin", "right").activate("sin", "top")
    for net, name in ((left, "left"), (right, "right"), (left, "f3"), (right, "A")):
        with pytest.raises(ValueError, match=f"two nodes are called {name!r}"):
            net.activate("tanh", name)
    node = tk.Node("B", "j")
    wide = tk.Network([*left.nodes, node], "ij", dict(j=3))
    with pytest.raises(ValueError, match="two nodes are called 'B'"):
        tk.Network([*wide.activate("tanh", "top").nodes, tk.Node("B", "j")], "ij")
    tk.Network([*right.nodes, node], "ij", dict(j=4))  # another 'B', of another size


def test_threads_that_extend_one_network():
    from concurrent.futures import ThreadPoolExecutor

    base = tower(200)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda k: base.activate("tanh", f"g{k}").activate("tanh", f"h{k}"), range(200)))
    assert all(names_in(net) - names_in(base) == {f"g{k}", f"h{k}"} for k, net in enumerate(made))


def body(name, inner, array=None, fixed=False, size=2):
    """A network with output i whose index ``inner`` is summed."""
    return tk.Network([tk.Node(name, ("i", inner), array or "", fixed)], "i", {"i": 2, inner: size})


@pytest.mark.parametrize("levels_", [0, 1, 30])
@pytest.mark.parametrize(
    ("second", "message"),
    [
        (body("A", "s"), "two nodes are called 'A'"),
        (body("B", "r"), "index 'r' is summed inside elementwise node"),
        (body("B", "s", "A", size=3), "share array 'A' but have shapes"),
        (body("B", "s", "A", True), "share array 'A' but fixed="),
        (body("B", "s", "f0"), "elementwise node 'f0' has the name of node 'B''s array"),
    ],
)
def test_contradictions_at_any_depth(levels_, second, message):
    first = body("A", "r").activate("tanh", "f0")
    for k in range(levels_):
        first, second = first.activate("tanh", f"f{k + 1}"), second.activate("tanh", f"g{k}")
    for bodies in ((first, second), (second, first)):
        with pytest.raises(ValueError, match=message):
            tk.Elementwise("sum", "add", bodies)
        with pytest.raises(ValueError, match=message):
            tk.Network([tk.Elementwise(f"e{k}", "relu", b) for k, b in enumerate(bodies)], "i")


def test_wide_networks_too():
    """A thousand bodies side by side: their tables are joined once."""
    parts = [body(f"A{k}", f"r{k}") for k in range(1000)]
    net = tk.Network([tk.Elementwise("sum", "add", parts)], "i")
    side = tk.Network([tk.Elementwise(f"f{k}", "tanh", p) for k, p in enumerate(parts)], "i")
    assert len(net.leaves) == len(side.leaves) == 1000 and len(all_indices(net)) == 1001
    x = {name: np.full((2, 2), k / 1000) for k, name in enumerate(net.array_shapes)}
    assert np.allclose(tk.contract(net, x), 999.0)


@pytest.mark.slow
def test_a_deep_network_is_drawn():
    from tnkit.drawing.placement import layout

    ax = tk.draw(tk.plan(tower(1200)))
    boxes = {patch.get_gid() for patch in ax.patches if (patch.get_gid() or "").startswith("box:")}
    assert boxes == {f"box:f{k}" for k in range(1200)}
    net = wall(400)
    assert set(layout(net)) == {leaf.name for leaf in net.leaves}
