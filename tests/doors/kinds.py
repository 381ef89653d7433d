"""Which of the wrong values are right for an argument, and why: all else that is taken is taken silently, a fault."""

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
    "count or 0": _WHOLE | {"0"},
    "seed": _WHOLE | {"0", _HUGE},
    "positive": _REAL,
    "at least 0": _REAL | {"0"},
    "real": _REAL | {"0", "-1"},
    "name": {"'x'", "np.str_('x')"},
    "network": _NETS,
    "nothing": set(),
    "function": {"a function", "the function len", "a module of torch"},
    "optimizer": {"a function", "the function len", "a module of torch"},
}  # fmt: skip

#: Argument, of one function or of all -> its kind; "?" behind it: None too.
KINDS = {
    "seed": "seed", "sweeps": "count or 0", "restarts": "count", "ridge": "at least 0", "tol": "at least 0", "std": "positive",
    "depth": "count", "periodic": "flag", "full": "flag", "share": "count?", "scale": "flag", "labels": "flag",
    "budget": "count?", "backend": "nothing?", "progress": "flag", "steps": "count", "lr": "positive",
    "patience": "count?", "batch": "count", "dtype": "nothing", "optimizer": "nothing", "executor": "nothing?",
    "activation": "nothing?", "center": "nothing?", "dynamic": "nothing?", "ax": "nothing?", "net_or_plan": "network",
    "tk.to_json.net": "network", "tk.to_graph.net": "network", "tk.save.net": "network", "tk.init.normal.net": "network",
    "tk.init.orthogonal.net": "network", "tk.plan.net": "network", "tk.plan.itemsize": "count", "tk.plan.slices": "count",
    "tk.plan.memory_limit": "nothing?", "tk.plan.checkpoint": "flag", "tk.Rates.flops": "positive",
    "tk.Rates.bytes": "positive", "tk.Rates.seconds.flops": "at least 0", "tk.Rates.seconds.moved": "at least 0",
    "tk.adtn.dim": "count?", "tk.brick_wall.dim": "count", "tk.peps.rows": "count", "tk.peps.cols": "count", "tk.peps.dim": "count",
    "tk.peps.rank": "count", "tk.tt.rank": "count", "tk.mps.rank": "count", "tk.mpo.rank": "count", "tk.ring.rank": "count",
    "tk.tucker.rank": "count", "tk.cp.rank": "count", "tk.low_rank.rank": "count", "tk.tree.rank": "count",
    "tk.mera.rank": "count", "tk.tree.arity": "count", "tk.from_graph.bond": "count", "tk.from_graph.open": "nothing?",
    "tk.Node.name": "name", "tk.Elementwise.name": "name", "tk.Network.activate.name": "name", "tk.Node.fixed": "flag",
    "tk.Node.array": "name", "tk.Decomposition.scaled.by": "real", "tk.bond_entropy.order": "at least 0",
    "tk.testing.random_network.max_nodes": "count", "tk.testing.random_network.max_size": "count",
    "tk.testing.random_network.max_depth": "count", "tk.testing.random_network.max_space": "count",
    "tk.testing.random_network.nonlinear": "flag", "rank": "count?",
    **KINDS_NN,
}  # fmt: skip

#: (function, argument) -> value -> why it is taken, beyond its kind.
ALLOWED: dict[tuple[str, str], dict[str, str]] = {**ALLOWED_NN}

#: Argument -> other words by which a message may name it.
SPOKEN = {
    "net": ("network",), "network": ("network",), "a": ("network", "networks"), "b": ("network", "networks"),
    "net_or_plan": ("network", "plan"), "arrays": ("array", "key"), "x": ("tensor", "x"), "target_arrays": ("target",),
    "nodes": ("node",), "inds": ("index", "indices"), "bodies": ("body",), "other": ("network",), "optimizer": ("path", "step"),
    "flops": ("rates",), "bytes": ("rates",), "path": ("file", "step"), "in_": ("in",), "shape": ("shape", "size"),
    "columns": ("column", "gate"), "model": ("module",), "module": ("module",), "split": ("split", "data"), "images": ("inputs",),
}  # fmt: skip


def reason(function, argument, value):
    """Why this value may be taken for this argument; "" if nothing says so."""
    kind = KINDS.get(f"{function}.{argument}", KINDS.get(argument, "nothing"))
    if kind.endswith("?") and value == "None":
        return "None is the default"
    if value in TAKES[kind.rstrip("?")]:
        return f"a right {kind.rstrip('?')}"
    return ALLOWED.get((function, argument), {}).get(value, "")
