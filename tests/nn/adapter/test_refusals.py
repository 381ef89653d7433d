"""What the adapter is given wrongly: refused before anything is changed, by name; a Decomposition is a network and its arrays."""

import numpy as np
import pytest
import torch
from torch import nn

import tnkit as tk
from tnkit_nn import TNEmbedding, TNLinear, TNModule, parametrize_

NET = tk.mpo((2, 2), (2, 3), 2)  # 4 x 6
DEEP = tk.adtn((4, 6), depth=2, activation="relu")


def found(seed=0, dtype=float):
    draw = np.random.default_rng(seed)
    w = draw.standard_normal((4, 6)) + (1j * draw.standard_normal((4, 6)) if dtype is complex else 0)
    return tk.tree_svd(tk.tensorize(w, NET.shape), NET)


def dense(d):
    return tk.detensorize(tk.testing.oracle(d.network, d.arrays), (4, 6))


def arrays(net, dtype):
    draw = np.random.default_rng(1)
    return {n: draw.standard_normal(net.array_shapes[n]).astype(dtype) for n in net.parameters}


# -- a Decomposition -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "weight",
    [
        lambda d: TNModule(d)().reshape(4, 6),
        lambda d: TNModule(net=d)().reshape(4, 6),
        lambda d: parametrize_(nn.Linear(6, 4), "weight", d).weight,
        lambda d: TNLinear(6, 4, d).weight,
        lambda d: TNLinear(6, 4, network=d, bias=False).weight,
        lambda d: TNEmbedding(4, 6, d).weight,
        lambda d: TNLinear.from_module(nn.Linear(6, 4), d, fit=False).weight,
    ],
)
def test_a_decomposition_is_a_network_and_its_arrays(weight):
    d = found()
    assert torch.allclose(weight(d).double(), torch.from_numpy(dense(d)), atol=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda d: TNModule(d, d.arrays),
        lambda d: parametrize_(nn.Linear(6, 4), "weight", d, d.arrays),
        lambda d: TNLinear(6, 4, d, arrays=d.arrays),
        lambda d: TNEmbedding(4, 6, d, d.arrays),
        lambda d: TNLinear.from_module(nn.Linear(6, 4), d, arrays=d.arrays),
    ],
)
def test_arrays_are_given_once(call):
    with pytest.raises(TypeError, match="arrays are given once, in the pair or as arrays=, not twice"):
        call(found())


# -- functions that need an order ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fn", ["relu", "leaky_relu", "softplus"])
@pytest.mark.parametrize(
    "call",
    [
        lambda net: tk.contract(net, arrays(net, "complex128")),
        lambda net: tk.contract(net, {n: torch.from_numpy(a) for n, a in arrays(net, "complex64").items()}),
        lambda net: TNModule(net, arrays(net, "complex64"), dtype=torch.complex64),
        lambda net: TNModule(net, dtype=torch.complex64),
        lambda net: TNLinear(6, 4, net, dtype=torch.complex64),
        lambda net: tk.init.normal(net, dtype="complex128"),
    ],
)
def test_complex_numbers_have_no_order(call, fn):
    net = tk.adtn((4, 6), depth=2, activation=fn)
    with pytest.raises(
        ValueError, match=rf"node 'act_0': {fn} takes real numbers, not (torch.)?complex\d+ as of array"
    ):
        call(net)


def test_functions_without_an_order_take_complex_numbers():
    net = tk.adtn((4, 6), depth=2, activation="tanh")
    given = arrays(net, "complex128")
    ours = TNModule(net, given, dtype=torch.complex128)()
    assert np.allclose(ours.detach().numpy(), tk.testing.oracle(net, given))


# -- parametrize_ ----------------------------------------------------------------------------------------------------------
class Owner(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 6))
        self.register_parameter("none", None)
        self.register_buffer("table", torch.ones(4, 6))
        self.inner = nn.Linear(6, 4)
        self.one = self.two = nn.Parameter(torch.ones(4, 6))
        self.counts = nn.Parameter(torch.ones(4, 6, dtype=torch.int64), requires_grad=False)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("weigth", {}, r"Owner has no parameter 'weigth' of its own \(it has weight, one, two, counts\)"),
        ("table", {}, "'table' of its own: it is a buffer, which is never trained"),
        ("inner", {}, "'inner' of its own: it is a module; give that one"),
        ("inner.weight", {}, r"give its owner, model.get_submodule\('inner'\), and the name 'weight'"),
        ("none", {}, "'none' of its own: it is None there"),
        ("counts", {}, "the dtype of 'counts' of Owner is a floating or complex dtype, .*, not torch.int64"),
        (None, {}, "name is a non-empty string, not None"),
        ("weight", {"net": tk.mpo((2, 2), (2, 2), 2)}, "'weight' of Owner: the network's sizes multiply to the weight's, in order, but"),
        ("weight", {"net": tk.Network((tk.Node("A", "i"),), "", {"i": 3})}, "does not fill|multiply to the weight's"),
        ("weight", {"arrays": [1]}, "arrays map names to values"),
        ("weight", {"arrays": {**found().arrays, "zz": np.ones(1)}}, "array 'zz' belongs to no node"),
        ("weight", {"arrays": dict(list(found().arrays.items())[:1])}, "trained array '.*' is missing"),
        ("weight", {"arrays": {n: a * np.nan for n, a in found().arrays.items()}}, "array '.*' is finite everywhere, but its entry"),
        ("weight", {"arrays": found(dtype=complex).arrays}, "but the weight is torch.float32: it would become complex"),
        ("weight", {"std": 0}, "std is a positive number, not 0"),
        ("weight", {"std": "mach"}, "std, unless it is a positive number, is one of match, not 'mach'"),
        ("weight", {"seed": -1}, "seed is a whole number of at least 0, not -1"),
    ],
)  # fmt: skip
def test_a_refusal_leaves_the_module_as_it_was(name, options, said):
    owner = Owner()
    before, kinds = dict(owner.state_dict()), type(owner)
    with pytest.raises((TypeError, ValueError, KeyError), match=said) as told:
        parametrize_(owner, name, **{"net": NET} | options)
    assert "\n" not in str(told.value) and type(owner) is kinds and not hasattr(owner, "parametrizations")
    assert list(before) == list(owner.state_dict()) and all(before[n] is not None for n in before)


def test_weights_without_values_are_refused():
    with pytest.raises(ValueError, match="'weight' of LazyLinear has no shape yet: call the model once before"):
        parametrize_(nn.LazyLinear(4), "weight", NET)
    arrays = found().arrays
    for make in (lambda: TNLinear(6, 4, NET, arrays=arrays), lambda: TNModule(NET, arrays)):
        with torch.device("meta"), pytest.raises(ValueError, match="torch's default device is meta: make it outside"):
            make()


# -- what forward takes ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("x", "error", "said"),
    [
        (np.ones((2, 6)), TypeError, "TNLinear: x is a tensor, not a ndarray of shape .*; torch.as_tensor"),
        (torch.ones(2, 6, dtype=torch.float64), ValueError, "TNLinear: x is torch.float64, the network's arrays are torch.float32"),
        (torch.tensor(1.0), ValueError, r"TNLinear: x has shape \(\.\.\., 6\), not \(\)"),
        (torch.eye(6).to_sparse(), ValueError, "TNLinear: x is dense, not torch.sparse_coo"),
        (torch.ones(2, 6, device="meta"), ValueError, "TNLinear: x is on meta, the network's arrays are on cpu"),
    ],
)  # fmt: skip
def test_inputs_of_a_layer(x, error, said):
    with pytest.raises(error, match=said):
        TNLinear(6, 4, NET)(x)


def test_what_is_not_contiguous_is_an_input_too():
    layer, x = TNLinear(6, 4, NET), torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).T
    assert not x.is_contiguous() and torch.allclose(
        layer(x), nn.functional.linear(x, layer.weight, layer.bias), atol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("net", [NET, DEEP])
def test_a_token_beyond_the_table_is_told_whether_the_table_is_built_or_not(net):
    table = TNEmbedding(4, 6, net)
    for wrong, token in (([0, 4], 4), ([[1, 2], [-1, 9]], -1), (2**40, 2**40)):
        with pytest.raises(
            ValueError, match=rf"TNEmbedding\(4, 6\): tokens are in 0\.\.3, for there are 4 rows, not {token}$"
        ):
            table(torch.tensor(wrong))
    compiled = torch.compile(table, fullgraph=True, backend="aot_eager")
    with pytest.raises(RuntimeError, match=r"TNEmbedding\(4, 6\): tokens are in 0\.\.3, for there are 4 rows"):
        compiled(torch.tensor([0, 4]))
    tokens = torch.tensor([[0, 3], [1, 2]])
    torch.testing.assert_close(torch.func.vmap(table)(tokens), table.weight[tokens])


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_scripts_are_refused():
    import tnkit_nn as tknn

    made = torch.jit.script(nn.Sequential(nn.Linear(8, 8)))
    few = tknn.Compression(layers=(tknn.Layers("0", "low_rank", budget=32),))
    parts = {name: (torch.ones(4, 8), torch.arange(4)) for name in ("train", "val", "test")}
    for call in (
        lambda: parametrize_(next(made.children()), "weight", tk.low_rank((8, 8), 2)),
        lambda: parametrize_(nn.Linear(8, 8), "weight", tk.low_rank((8, 8), 2), model=made),
        lambda: tknn.tensorize_(made, {"0": "low_rank"}, budget=32),
        lambda: tknn.compress_(made, few),
        lambda: tknn.compare(tknn.Task(made, parts), ["low_rank"], [32], layer="0"),
    ):
        with pytest.raises(
            TypeError, match=r"is an nn.Module in Python, not one that torch.jit compiled \((Linear|Sequential)\)"
        ):
            call()
