"""Which of the wrong values are right for an argument, and why: all else that is taken is taken silently, a fault."""

from dataclasses import fields

from tnkit.execution.numpy import NUMPY

from .nn import ALLOWED_NN, KINDS_NN

__all__ = ["ALLOWED", "KINDS", "SPOKEN", "TAKES", "reason"]

_HUGE = "10**30"
_WHOLE = {"3", "np.int64(2)", "0-d int array", "0-d tensor"}
_REAL = {"3", "2.5", "np.int64(2)", "np.float32(1.5)", "0-d int array", "0-d float array", "0-d tensor", _HUGE}
_NETS = {"a Network", "a nonlinear Network"}

#: Kind of argument -> the values that are right for it.
TAKES = {
    "flag": {"True", "False", "np.bool_(True)"},
    "count": _WHOLE,
    "sweeps": _WHOLE | {"0", _HUGE},  # they end where they gain nothing
    "most": _WHOLE | {_HUGE},
    "part": {"0"},
    "seed": _WHOLE | {"0", _HUGE},
    "positive": _REAL,
    "at least 0": _REAL | {"0"},
    "real": _REAL | {"0", "-1"},
    "name": {"'x'", "np.str_('x')"},
    "network": _NETS,
    "nothing": set(),
    "function": {"a function", "the function len", "a module of torch"},
    "shape": {"a generator", "one item more", "one item less", "range(2)"},
    "activation": {"a function"},
    "anything": set(),
    "order": _REAL | {"inf"},
    "backend": {"a Backend"},
    "bytes": _REAL | {"inf"},
    "value": _REAL | {"0", "-1", "nan", "inf"},
}  # fmt: skip

#: Argument, of one function or of all -> its kind; "?" behind it: None too.
KINDS = {
    "seed": "seed", "sweeps": "sweeps", "restarts": "count", "ridge": "at least 0", "tol": "at least 0?", "std": "positive",
    "tk.init.normal.std": "at least 0?", "tk.init.orthogonal.std": "at least 0?", "tk.init.to_rms.std": "at least 0?", "strip_exponent": "flag",
    "memory_limit": "bytes?", "callback": "function?", "fn": "activation", "inds": "nothing",
    "tk.environment.net": "network", "tk.bond_entropy.order": "order", "tk.tree_svd.net": "nothing?",
    "tk.Network.relabel.inds": "function?", "tk.Network.relabel.nodes": "function?", "tk.Network.relabel.arrays": "function?",
    "depth": "count", "periodic": "flag", "full": "flag", "share": "count?", "scale": "flag", "labels": "flag",
    "budget": "count?", "backend": "backend?", "progress": "flag", "steps": "count", "lr": "positive",
    "patience": "count?", "batch": "count", "dtype": "nothing", "optimizer": "nothing", "executor": "nothing?",
    "activation": "activation?", "shape": "shape", "out": "shape", "in_": "shape", "center": "nothing?", "dynamic": "nothing?", "ax": "nothing?", "net_or_plan": "network",
    "tk.to_json.net": "network", "tk.to_graph.net": "network", "tk.save.net": "network", "tk.init.normal.net": "network",
    "tk.init.orthogonal.net": "network", "tk.plan.net": "network", "tk.plan.itemsize": "count", "tk.plan.slices": "count",
    "tk.plan.memory_limit": "bytes?", "tk.plan.checkpoint": "flag", "tk.Rates.flops": "positive",
    "tk.Rates.bytes": "positive", "tk.Rates.call": "positive", "tk.Rates.seconds.flops": "at least 0", "tk.Rates.seconds.moved": "at least 0",
    "tk.adtn.dim": "count?", "tk.brick_wall.dim": "count", "tk.brick_wall.sites": "count", "tk.peps.rows": "count", "tk.peps.cols": "count", "tk.peps.dim": "count",
    "tk.peps.rank": "count", "tk.tt.rank": "count", "tk.mps.rank": "count", "tk.mpo.rank": "count", "tk.ring.rank": "count",
    "tk.tucker.rank": "count", "tk.cp.rank": "count", "tk.low_rank.rank": "count", "tk.tree.rank": "count",
    "tk.mera.rank": "count", "tk.tree.arity": "count", "tk.augmented_tree.arity": "count", "tk.augmented_tree.rank": "count", "tk.kronecker.rank": "count",
    "tk.block_term.rank": "count", "tk.block_term.terms": "count", "tk.btt.rank": "count", "tk.kronecker.factor_rank": "count?", "tk.butterfly.passes": "count",
    "tk.from_graph.bond": "count", "tk.from_graph.open": "nothing?",
    "tk.Node.name": "name", "tk.Elementwise.name": "name", "tk.Network.activate.name": "name", "tk.Node.fixed": "flag",
    "tk.Node.array": "name", "tk.Decomposition.scaled.by": "real",
    "tk.testing.random_network.max_nodes": "count", "tk.testing.random_network.max_size": "count",
    "tk.testing.random_network.max_depth": "count", "tk.testing.random_network.max_space": "count",
    "tk.testing.random_network.nonlinear": "flag", "rank": "count?",
    "tk.Backend.name": "name", "tk.Backend.xp": "anything", "tk.Backend.mixes": "flag", "tk.Backend.writes": "flag", "tk.Backend.folds": "flag",
    "tk.Backend.home": "name", **{f"tk.Backend.{f.name}": "function" for f in fields(NUMPY) if callable(getattr(NUMPY, f.name)) and f.name != "xp"},
    "tk.explain.net": "network",
    "tk.merge.name": "name?", "tk.split.names": "nothing?", "tk.split.bond": "name?", "tk.fuse.inds": "nothing?", "tk.squeeze.inds": "nothing?",
    "tk.expand_bonds.bonds": "count", "noise": "at least 0", "tk.transpose.net": "network", "tk.canonicalize.start": "nothing?",
    "tk.init.near_identity.net": "network", "tk.init.near_identity.std": "at least 0?",
    "tk.init.near_identity.noise": "at least 0", "born": "flag", "tk.sample.n": "count", "tk.directions.net": "network",
    "tk.log_likelihood.net": "network", "tk.init.lifted.net": "network", "amplitude": "positive", "tk.detensorize.dims": "nothing?",
    "max_bond": "most", "rounds": "most", "damping": "part", "tk.view.names": "nothing?", "tk.view.title": "name?",
}  # fmt: skip

_READ = {
    f"{kind}": "numbers that numpy reads"
    for kind in ("np.matrix", "masked array", "longdouble array", "int array", "bool array", "nested list")
}
_TENSORS = {f"{kind} tensor": "numbers of torch" for kind in ("uint8", "bool", "bfloat16")}
_LISTS = {k: "nested lists that numpy reads" for k in ("[2.5]", "[-1]", "[True]", "a path")}
#: Functions -> the arrays beside a network: what numpy reads (a mask that hides nothing), computed with as it is or in double precision.
_BESIDE = {
    **{(f"tk.{f}", "arrays"): _READ for f in ("isel", "fuse", "unfuse", "squeeze", "expand_bonds", "conj")},
    **{
        (f"tk.{f}", "arrays"): _READ
        for f in (
            "run",
            "contract",
            "contract_approx",
            "check_arrays",
            "linear_operator",
            "norm",
            "log_likelihood",
            "marginals",
        )
    },
    **{(f"tk.{f}", a): _READ for f in ("inner", "distance", "add") for a in ("a_arrays", "b_arrays")},
    **{(f"tk.{f}", "arrays"): _READ for f in ("expect", "density_matrix", "local_expectation")},
    ("tk.expect", "op_arrays"): _READ,
    **{
        (f, a): {k: v for k, v in _READ.items() if k != "longdouble array"}
        for f, a in (
            ("tk.apply", "op_arrays"),
            ("tk.apply", "arrays"),
            ("tk.multiply", "a_arrays"),
            ("tk.multiply", "b_arrays"),
        )
    },
    **{
        (f"tk.{f}", "arrays"): {k: v for k, v in _READ.items() if k != "longdouble array"}
        for f in ("canonicalize", "round", "bond_spectrum", "bond_entropy", "sample", "merge", "split", "apply_gate")
    },
    **{
        (f"tk.init.{f}", "arrays"): _READ | _TENSORS for f in ("near_identity", "normal", "orthogonal", "rms", "to_rms")
    },
    ("tk.project", "target_arrays"): {k: v for k, v in _READ.items() if k != "longdouble array"},
    ("tk.save", "arrays"): {
        k: v for k, v in (_READ | _TENSORS).items() if k not in ("masked array", "bfloat16 tensor")
    },
    ("tk.to_tensornetwork", "arrays"): {k: v for k, v in _READ.items()},
    **{
        (f"tk.{f}", "arrays"): dict.fromkeys(
            ("masked array", "int array", "bool array"), "a start, cast to the target's dtype"
        )
        for f in ("als", "project")
    },
}
#: As _BESIDE, where the other arrays are tensors of torch.
_BESIDE_TENSORS = {
    **{
        ("tk." + f, a): dict.fromkeys(("uint8 tensor", "bool tensor"), "whole numbers, in float64")
        for f, a in (
            ("contract_approx", "arrays"),
            ("norm", "arrays"),
            ("inner", "a_arrays"),
            ("inner", "b_arrays"),
            ("distance", "a_arrays"),
            ("distance", "b_arrays"),
            ("add", "a_arrays"),
            ("add", "b_arrays"),
            ("canonicalize", "arrays"),
            ("round", "arrays"),
            ("bond_spectrum", "arrays"),
            ("bond_entropy", "arrays"),
            ("apply", "op_arrays"),
            ("apply", "arrays"),
            ("multiply", "a_arrays"),
            ("multiply", "b_arrays"),
            ("expect", "op_arrays"),
            ("expect", "arrays"),
            ("density_matrix", "arrays"),
            ("local_expectation", "arrays"),
            ("project", "target_arrays"),
            ("log_likelihood", "arrays"),
            ("marginals", "arrays"),
        )
    },
    **{
        (f"tk.{f}", "arrays"): {
            f"{k} tensor": "a start, cast to the target's dtype" for k in ("uint8", "bool", "bfloat16")
        }
        for f in ("als", "project")
    },
    ("tk.to_tensornetwork", "arrays"): dict.fromkeys(
        ("uint8 tensor", "bfloat16 tensor"), "its nodes hold the given tensors themselves"
    ),
    ("tk.sample", "arrays"): dict.fromkeys(_TENSORS, "values, in double precision"),
    ("tk.run", "arrays"): {"meta tensor": "shapes alone, as torch gives them"},
    **{
        (f"tk.{f}", "arrays"): {
            f"{k} tensor": "axes alone are looked at" for k in ("uint8", "bool", "bfloat16", "meta")
        }
        for f in ("isel", "fuse", "unfuse", "squeeze")
    },
    ("tk.split", "arrays"): {f"{k} tensor": "in single or double precision" for k in ("uint8", "bool", "bfloat16")},
    **{(f"tk.{f}", "arrays"): {"bool tensor": "0 and 1, in float64"} for f in ("merge", "apply_gate", "expand_bonds")},
}
_FREE = {
    ("tk.init.normal", "arrays"): dict.fromkeys(("None", "{}", "without 'x'"), "unit normal entries stand in"),
    ("tk.init.orthogonal", "arrays"): dict.fromkeys(("None", "{}", "without 'x'"), "unit normal entries stand in"),
    ("tk.init.near_identity", "arrays"): dict.fromkeys(
        ("None", "{}", "without 'x'"), "nodes begin with [1, 0, ...] along data that are not known"
    ),
    ("tk.als", "arrays"): dict.fromkeys(("None", "{}"), "starts are drawn"),
    ("tk.project", "arrays"): dict.fromkeys(("None", "{}"), "starts are drawn"),
    ("tk.save", "arrays"): dict.fromkeys(
        ("None", "{}", "without 'core_0'"), "a network is saved with what arrays there are"
    ),
}
_RANKS = dict.fromkeys(("10**30", "[10**30]"), "more than a bond can use is no bound") | {"{}": "no bond is bounded"}


def _items(function, argument):
    """The values of one entry of the mapping that the right call has."""
    first = "x" if function in ("tk.init.near_identity", "tk.init.normal", "tk.init.orthogonal") else "core_0"
    beside = _BESIDE.get((function, argument), {}) | _BESIDE_TENSORS.get((function, argument), {})
    return {f"'{first}': {k}": v for k, v in beside.items()} | _FREE.get((function, argument), {})


#: (function, argument) -> value -> why it is taken, beyond its kind.
ALLOWED = {
    **ALLOWED_NN,
    **{key: _items(*key) for key in (_BESIDE | _FREE)},
    ("tk.Node", "inds"): dict.fromkeys(
        ("'x'", "''", "()", "np.str_('x')", "[]", "['x']", "empty array", "first item 'x'", "one item more", "one item less"), "names, or none: a scalar",
    ),
    ("tk.Node", "array"): {"''": "the default: the node's name"},
    ("tk.Elementwise", "bodies"): dict.fromkeys(("a Network", "a nonlinear Network"), "one body"),
    ("tk.Network", "output"): dict.fromkeys(("''", "()", "[]", "empty array", "one item less"), "the rest is summed"),
    ("tk.Network", "sizes"): {"'i': 10**30": "a network is structure; its arrays are refused when they are made"},
    ("tk.Network.join", "output"): dict.fromkeys(("None", "''", "()", "[]", "empty array"), "the rest is summed; None is the default"),
    ("tk.Network.join", "on"): {"one item more": "declared twice, joined once"},
    **{("tk.Network.relabel", a): {"{}": "names that are left out stay", f"without '{n}'": "names that are left out stay", f"'{n}': 'x'": "a new name"}
       for a, n in (("inds", "i0"), ("nodes", "core_0"), ("arrays", "core_0"))},
    ("tk.Decomposition.scaled", "by"): {"1j": "a complex factor"},
    ("tk.merge", "nodes"): {"one item less": "one node, by a new name"},
    ("tk.split", "left"): {"one item more": "an index named twice"},
    ("tk.split", "names"): {"first item 'x'": "a name that is free"},
    ("tk.split", "rank"): {"10**30": "more than the bond can use is no bound"},
    ("tk.apply_gate", "rank"): {"10**30": "more than a bond can use is no bound"},
    ("tk.isel", "values"): dict.fromkeys(("{}", "without 'i0'", "'i0': -1", "'i0': 0"), "places that there are, or none"),
    ("tk.fuse", "inds"): dict.fromkeys(("{}", "without 'x'"), "nothing is fused"),
    ("tk.unfuse", "inds"): dict.fromkeys(("{}", "without 'i0'"), "nothing is changed"),
    ("tk.squeeze", "inds"): dict.fromkeys(("''", "()", "[]", "empty array", "one item more", "one item less"), "indices, or none"),
    ("tk.expand_bonds", "bonds"): dict.fromkeys(("{}", "without 'b1'"), "nothing grows"),
    ("tk.add", "weights"): dict.fromkeys(
        ("range(2)", "a generator", "first item 2.5", "first item -1", "first item 0", "first item 10**30"), "two numbers",
    ),
    **{(f"tk.{f}", "x"): {k: v for k, v in (_READ | _TENSORS | _LISTS).items() if k not in ("longdouble array", "masked array")}
       for f in ("tt_svd", "tree_svd", "tucker_svd", "ring_svd", "low_rank_svd", "cp_als")},
    **{(f"tk.{f}", "rank"): _RANKS | {"a generator": "ranks in their order"} for f in ("tt_svd", "mpo_svd", "tree_svd", "tucker_svd", "ring_svd", "low_rank_svd", "round")},
    ("tk.apply", "rank"): _RANKS, ("tk.multiply", "rank"): _RANKS | {"a generator": "ranks in their order"},
    ("tk.operator", "terms"): {k: "sums of any number of terms" for k in ("()", "[]", "empty array", "one item more", "one item less")},
    ("tk.operator", "dims"): {k: "sites beyond those of the terms" for k in ("a generator", "one item more")},
    **{("tk.operator", a): {"None": "the default"} for a in ("tree", "dtype")}, ("tk.inner", "op"): {"None": "the default"},
    ("tk.expect", "op"): {"a Network": "an operator of one site, and the state read as another"},
    ("tk.local_expectation", "gates"): {"{}": "no gates", "without 'i0'": "no gates"} | {f"'i0': {k}": v for k, v in (_READ | _TENSORS).items()},
    ("tk.Backend", "own"): dict.fromkeys(("{}", "without 'relu'"), "the activations as they are written"),
    ("tk.Backend", "methods"): dict.fromkeys(("{}", "without 'permute'", "'permute': 'x'"), "functions do what no method does; a text is code"),
    ("tk.Backend", "home"): {"''": "the default: it is not sent to other processes"},
    ("tk.cp_als", "budget"): {"10**30": "no rank above that of every array"},
    ("tk.save", "path"): dict.fromkeys(("'x'", "np.str_('x')"), "a file's name"),
    ("tk.load", "path"): dict.fromkeys(("'x'", "np.str_('x')"), "save has written a file of that name"),
    ("tk.init.orthogonal", "toward"): {
        "None": "the default", "{}": "no node is an isometry", "without 'A'": "no node is an isometry", "'A': ''": "no index: a vector of norm 1",
    },
    ("tk.directions", "inputs"): dict.fromkeys(("''", "()", "[]", "empty array"), "no index"),
    ("tk.mpo", "rank"): {"a generator": "ranks in their order"}, ("tk.btt", "rank"): {"a generator": "ranks in their order"},
    ("tk.kronecker", "factor_rank"): {"first item None": "that factor is dense"} | dict.fromkeys(("10**30", "first item 10**30"), "cut to the factor's sizes"),
    **{("tk.butterfly", a): dict.fromkeys(("3", "np.int64(2)", "0-d int array", "0-d tensor"), "read by its prime factors") for a in ("out", "in_")},
    ("tk.circuit", "dim"): {"a generator": "sizes in their order"},
    ("tk.circuit", "columns"): dict.fromkeys(
        ("()", "[]", "[[]]", "empty array", "one item more", "one item less"), "any number of columns, none too, of any gates"
    ),
    ("tk.circuit", "activation"): {"[None]": "one a column"},
    ("tk.circuit", "start"): {"None": "the default", "a Network": "a start of the right shape", "a pair (net, arrays)": "its network", "a path": "one group of both sites"},
    ("tk.adtn", "dim"): {"10**30": "one site an axis"},
    ("tk.adtn", "share"): {"10**30": "a period longer than a column ties nothing"},
    ("tk.brick_wall", "share"): {"10**30": "a period longer than a column ties nothing"},
    **{(f"tk.{f}", "arity"): {"10**30": "all indices below one node"} for f in ("tree", "augmented_tree")},
    ("tk.plan", "itemsize"): {"10**30": "figures in bytes alone depend on it"},
    ("tk.plan", "checkpoint"): dict.fromkeys(("inf", "10**30"), "a number of bytes"),
    ("tk.einsum", "optimizer"): {"a path": "that of two operands"},
    ("tk.from_einsum", "equation"): {"''": "one scalar, as in numpy"},
    ("tk.from_einsum", "sizes"): {"'i': 10**30": "a network is structure; its arrays are refused when they are made"},
    ("tk.to_einsum", "net"): {"a Network": "any multilinear network"},
    ("tk.from_arrays", "output"): dict.fromkeys(("''", "()", "[]", "empty array", "one item less"), "the rest is summed"),
    ("tk.from_graph", "bond"): {"10**30": "as sizes of from_einsum"},
    ("tk.from_graph", "open"): dict.fromkeys(("{}", "without 0", "0: 10**30"), "vertices without an open index"),
    ("tk.from_tensornetwork", "output_edges"): {"None": "the default"},
    ("tk.view", "net_or_plan"): {"a Plan": "an order of its network"},
    ("tk.view", "names"): {"['x']": "a name a value"},
    **{(f"tk.{f}", "net_or_plan"): {"a Plan": "its network, with its order"} for f in ("draw", "to_svg", "to_tikz")},
    **{(f"tk.{f}", "sizes"): dict.fromkeys(("True", "False", "np.bool_(True)"), "whether sizes are written") for f in ("draw", "to_svg", "to_tikz")},
    **{(f"tk.{f}", a): dict.fromkeys(("None", "{}"), "the default") for f in ("draw", "to_svg", "to_tikz") for a in ("pos", "layout", "color")},
    **{(f"tk.{f}", "highlight"): dict.fromkeys(("()", "frozenset()", "[]", "set()", "empty array"), "nothing is marked") for f in ("draw", "to_svg", "to_tikz")},
    ("tk.testing.random_network", "dtype"): {"the class int": "an integer dtype"},
    ("tk.testing.oracle", "arrays"): dict.fromkeys(
        [f"'core_0': {kind}" for kind in ("int array", "bool array", "uint8 tensor", "bool tensor", "longdouble array", "nested list")],
        "numbers that numpy reads",
    ),
    ("tk.testing.path_flops", "inputs"): {"first item ''": "a scalar", "one item more": "a path that leaves terms"},
    ("tk.testing.path_flops", "output"): dict.fromkeys(
        ("''", "()", "[]", "empty array", "one item more", "one item less"), "the rest is summed"
    ),
    ("tk.testing.path_flops", "sizes"): {"'i': 10**30": "a count alone"},
    ("tk.testing.path_flops", "path"): dict.fromkeys(("()", "[]", "empty array", "a path", "one item less"), "a path that leaves terms"),
}  # fmt: skip

#: Argument -> other words by which a message may name it.
SPOKEN = {
    "out": ("folder",),
    "net": ("network",), "network": ("network",), "a": ("network", "networks"), "b": ("network", "networks"),
    "net_or_plan": ("network", "plan"), "arrays": ("array", "key"), "x": ("tensor", "x"), "target_arrays": ("target",),
    "nodes": ("node",), "fn": ("activation",), "inds": ("index", "indices"), "bodies": ("body",), "other": ("network",), "optimizer": ("path", "step"),
    "open": ("vertices", "vertex"), "equation": ("from_einsum",), "flops": ("rates",), "bytes": ("rates",), "path": ("file", "step"), "in_": ("in",), "shape": ("shape", "size"),
    "dim": ("weight",), "columns": ("column", "gate"), "model": ("module",), "module": ("module",), "split": ("split", "data"), "images": ("inputs",),
}  # fmt: skip


def reason(function, argument, value):
    """Why this value may be taken for this argument; "" if nothing says so."""
    known = {**KINDS, **KINDS_NN} if function.startswith("tknn.") else KINDS
    kind = known.get(f"{function}.{argument}", known.get(argument, "nothing"))
    if kind.endswith("?") and value == "None":
        return "None is the default"
    if value in TAKES[kind.rstrip("?")]:
        return f"a right {kind.rstrip('?')}"
    return ALLOWED.get((function, argument), {}).get(value, "")
