"""Decompositions of an array and the rounding of a chain, beside the peers: time, relative error, gain.

Signals of the family's own ranks and a tenth of noise, float32; the chain to round is float64.  Every error is measured before
anything is timed, and must be within 1.002 times the best exact peer's.  A peer runs as it is shipped, in numpy and in torch
where it has both, and ``gain`` is over the fastest.  ``python benchmarks/decompose.py [--seconds 0.5] [--only Tucker]``.
"""

from __future__ import annotations

import argparse
import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Any

import numpy as np
import torch
from timing import medians, report

import tnkit as tk
from tnkit.planning.calibration import spelled_seconds
from tnkit_nn import TORCH

SHAPE, RANK, NOISE, CLOSE = (32, 64, 64, 32), 16, 0.1, 1.002
RING, KERNEL = (4, 4, 16, 16), (512, 512, 3, 3)
#: The peers that take seconds, not minutes, for a weight of 4096 x 4096.
QUICK = ("torchTT", "quimb", "randomized_svd, pytorch")
OURS, EXACT, RANDOMISED = "tnkit", "exact", "randomised"


@dataclass(frozen=True)
class Way:
    """What is timed, tnkit's or an exact or a randomised peer's; and the array that its result stands for."""

    kind: str
    call: Callable[[], Any]
    dense: Callable[[Any], Any]


@dataclass(frozen=True)
class Case:
    """Ways by name, how the error of one is measured, and what is asked.

    ``over_exact`` and ``over_randomised`` are the gains asked of a way whose name ends with the key; ``most`` seconds.
    """

    ways: Mapping[str, Way]
    error: Callable[[Any], float]
    over_exact: Mapping[str, float]
    over_randomised: Mapping[str, float]
    most: float = 0.0


# -- what is decomposed ---------------------------------------------------------------------------------------------
def noisy(net: tk.Network) -> np.ndarray:
    """What a network of random arrays stands for, and noise."""
    x = tk.contract(net, tk.init.normal(net, seed=0, dtype="float32"))
    e = np.random.default_rng(0).standard_normal(x.shape, dtype="float32")
    return x / np.linalg.norm(x) + np.float32(NOISE / np.linalg.norm(e)) * e


def distance(x: np.ndarray, made: Any) -> float:
    """Relative Frobenius error."""
    made = np.asarray(made).reshape(x.shape)
    return float(np.linalg.norm((made - x).ravel().astype("float64")) / np.linalg.norm(x.ravel().astype("float64")))


def from_chain(cores: Sequence[Any]) -> np.ndarray:
    """The array of (left, site, right) cores; the outer bonds are 1."""
    made = np.ones((1, 1), "float32")
    for core in map(np.asarray, cores):
        made = (made @ core.reshape(core.shape[0], -1)).reshape(-1, core.shape[-1])
    return made


def from_tnkit(found: tk.Decomposition) -> Any:
    """The array of a decomposition."""
    return tk.contract(found.network, {name: np.asarray(a) for name, a in found.arrays.items()})


# -- ways -----------------------------------------------------------------------------------------------------------
def ours(make: Callable[..., Any], x: np.ndarray, *methods: str) -> dict[str, Way]:
    """tnkit's, in both libraries: ``make(x, method=, backend=)``."""
    given = {"numpy": (x, tk.NUMPY), "torch": (torch.from_numpy(x), TORCH)}
    return {
        f"tnkit {m}, {name}": Way(OURS, partial(make, a, method=m, backend=backend), from_tnkit)
        for m in methods
        for name, (a, backend) in given.items()
    }


def tensorly(x: np.ndarray, make: Callable[..., Any], dense: Callable[[Any], Any], *, fast: bool) -> dict[str, Way]:
    """tensorly's, in both libraries: ``make(x, svd=)``, by exact singular values and, if ``fast``, by randomised ones."""
    import tensorly as tl

    def call(backend: str, a: Any, svd: str) -> Any:
        with tl.backend_context(backend):
            return make(a, svd=svd)

    given = {"numpy": x, "pytorch": torch.from_numpy(x)}
    kinds = {EXACT: "truncated_svd"} | ({RANDOMISED: "randomized_svd"} if fast else {})
    return {
        f"tensorly {svd}, {name}": Way(kind, partial(call, name, a, svd), dense)
        for kind, svd in kinds.items()
        for name, a in given.items()
    }


def trains(x: np.ndarray, ranks: Sequence[int], *parts: str) -> dict[str, Way]:
    """The peers' tensor trains; only those with one of these parts of a name."""
    import quimb.tensor as qtn
    import tntorch
    import torchtt
    from tensorly.decomposition import tensor_train

    bonds, tensor, ranks = [1, *ranks, 1], torch.from_numpy(x), list(ranks)

    def state(method: str) -> Any:
        return qtn.MatrixProductState.from_dense(x, dims=x.shape, max_bond=max(ranks), cutoff=0.0, method=method)

    def train(algorithm: str) -> Any:
        return tntorch.Tensor(tensor, ranks_tt=ranks, algorithm=algorithm)

    found = {
        **tensorly(x, lambda a, svd: tensor_train(a, bonds, svd=svd), from_chain, fast=True),
        "tntorch svd": Way(EXACT, partial(train, "svd"), lambda t: from_chain(t.cores)),
        "tntorch eig": Way(EXACT, partial(train, "eig"), lambda t: from_chain(t.cores)),
        "torchTT": Way(EXACT, lambda: torchtt.TT(tensor, eps=0.0, rmax=bonds), lambda t: from_chain(t.cores)),
        "quimb svd": Way(EXACT, partial(state, "svd"), lambda s: from_chain(cores_of(s))),
        "quimb rsvd": Way(RANDOMISED, partial(state, "rsvd"), lambda s: from_chain(cores_of(s))),
    }
    return {name: way for name, way in found.items() if not parts or any(p in name for p in parts)}


def cores_of(state: Any) -> list[np.ndarray]:
    """(left, site, right) cores of quimb's chain."""
    state = state.copy()
    state.permute_arrays("lpr")
    first, *inner, last = state.arrays
    return [first[None], *inner, last[..., None]]


# -- cases ----------------------------------------------------------------------------------------------------------
def tensor_train() -> Case:
    """An array of four axes as a chain."""
    x = noisy(tk.tt(SHAPE, RANK))
    ways = ours(partial(tk.tt_svd, rank=RANK), x, "auto", "exact") | trains(x, [RANK] * 3)
    return Case(ways, partial(distance, x), {"auto": 20, "exact": 2}, {"auto": 2})


def tucker(shape: tuple[int, ...]) -> Case:
    """An array of four axes as a core and a factor an axis."""
    from tensorly import tucker_to_tensor
    from tensorly.decomposition import tucker as peer

    def dense(found: Any) -> Any:
        return tucker_to_tensor((np.asarray(found[0]), [np.asarray(f) for f in found[1]]))

    ranks = [min(n, RANK) for n in shape]
    x = noisy(tk.tucker(shape, ranks))
    peers = tensorly(x, lambda a, svd: peer(a, ranks, svd=svd), dense, fast=True)
    ways = ours(partial(tk.tucker_svd, rank=ranks), x, "auto", "exact")
    return Case(ways | peers, partial(distance, x), {"": 15}, {"auto": 2})


def ring() -> Case:
    """The same with a loop; a ring by singular values finds ranks of a chain, so the signal is one."""
    from tensorly import tr_to_tensor
    from tensorly.decomposition import tensor_ring

    x = noisy(tk.tt(SHAPE, RING[0] * RING[1] // 2))
    peers = tensorly(
        x,
        lambda a, svd: tensor_ring(a, [*RING, RING[0]], svd=svd),
        lambda cores: tr_to_tensor([np.asarray(c) for c in cores]),
        fast=True,
    )
    ways = ours(partial(tk.ring_svd, rank=RING), x, "auto", "exact")
    return Case(ways | peers, partial(distance, x), {"auto": 30}, {"auto": 2})


def low_rank(n: int = 2048) -> Case:
    """A matrix as a product of two."""
    x = noisy(tk.low_rank((n, n), RANK))
    tensor = torch.from_numpy(x)

    def product(found: Any) -> Any:
        u, s, v = (np.asarray(a) for a in found)
        return (u[:, :RANK] * s[:RANK]) @ v[:RANK]

    ways = ours(partial(tk.low_rank_svd, rank=RANK), x, "auto", "exact")
    ways["numpy svd"] = Way(EXACT, lambda: np.linalg.svd(x, full_matrices=False), product)
    ways["torch svd"] = Way(EXACT, lambda: torch.linalg.svd(tensor, full_matrices=False), product)
    ways["torch svd_lowrank"] = Way(
        RANDOMISED, lambda: torch.svd_lowrank(tensor, q=RANK), lambda f: product((f[0], f[1], f[2].T))
    )
    if importlib.util.find_spec("sklearn"):
        from sklearn.utils.extmath import randomized_svd

        ways["sklearn randomized_svd"] = Way(RANDOMISED, lambda: randomized_svd(x, RANK, random_state=0), product)
    return Case(ways, partial(distance, x), {"auto": 20, "exact": 2}, {"auto": 1})


def tt_matrix() -> Case:
    """A weight of 4096 x 4096 as four cores of 8 x 8; a chain of the paired indices to the peers."""
    eights = (8,) * 4
    x = noisy(tk.mpo(eights, eights, RANK))
    paired = np.ascontiguousarray(x.transpose(0, 4, 1, 5, 2, 6, 3, 7)).reshape((64,) * 4)

    def unpaired(made: Any) -> Any:
        return np.asarray(made).reshape(eights * 2).transpose(0, 2, 4, 6, 1, 3, 5, 7)

    peers = {
        name: Way(way.kind, way.call, lambda found, way=way: unpaired(way.dense(found)))
        for name, way in trains(paired, [RANK] * 3, *QUICK).items()
    }
    ways = ours(partial(tk.mpo_svd, out=eights, in_=eights, rank=RANK), x, "auto", "exact")
    return Case(ways | peers, partial(distance, x), {"": 1}, {"auto": 1}, most=2.0)


def qtt() -> Case:
    """The same as a chain of 24 binary indices."""
    x = noisy(tk.tt((2,) * 24, RANK))
    peers = trains(x, [min(2**k, 2 ** (24 - k), RANK) for k in range(1, 24)], *QUICK)
    ways = ours(partial(tk.tt_svd, rank=RANK), x, "auto", "exact")
    return Case(ways | peers, partial(distance, x), {"": 1}, {"auto": 1}, most=2.0)


def tree() -> Case:
    """The same as a binary tree over eight sites."""
    net = tk.tree((8,) * 8, RANK)
    x = noisy(net)
    return Case(ours(partial(tk.tree_svd, net=net), x, "auto", "exact"), partial(distance, x), {}, {}, most=2.0)


def kernel_tt() -> Case:
    """A convolution's weights as a chain."""
    x = noisy(tk.tt(KERNEL, RANK))
    ways = ours(partial(tk.tt_svd, rank=RANK), x, "auto", "exact") | trains(x, [RANK, 9, 3])
    return Case(ways, partial(distance, x), {"": 1}, {"auto": 1})


def kernel_tree() -> Case:
    """The same as a binary tree, each side of the matrix beside one of the window."""
    net = tk.tree([KERNEL[k] for k in (0, 2, 1, 3)], RANK)
    x = noisy(net)
    return Case(ours(partial(tk.tree_svd, net=net), x, "auto", "exact"), partial(distance, x), {}, {})


def rounded(sites: int = 50, size: int = 4, before: int = 2 * RANK) -> Case:
    """A chain of twice the rank, in double precision."""
    import quimb.tensor as qtn
    import tntorch
    import torchtt

    net = tk.mps((size,) * sites, before)
    given = tk.init.normal(net, seed=0)
    for node in net.nodes[:-1]:  # values that fall along every bond: there is something to lose
        given[node.array] = given[node.array] * 0.8 ** np.arange(given[node.array].shape[-1])
    tensors = {name: torch.from_numpy(a) for name, a in given.items()}
    cores = shaped(given.values())
    of_torch = [torch.from_numpy(c) for c in cores]
    train, other = torchtt.TT(of_torch), tntorch.Tensor(of_torch)
    state = qtn.MatrixProductState([cores[0][0], *cores[1:-1], cores[-1][..., 0]], shape="lpr")

    def rounded_clone() -> Any:
        made = other.clone()
        made.round_tt(rmax=RANK)
        return made.cores

    def compressed() -> Any:
        made = state.copy()
        made.compress(max_bond=RANK, cutoff=0.0)
        return made

    def of_ours(found: tk.Decomposition) -> Any:
        return shaped(found.arrays[node.array] for node in found.network.nodes)

    ways = {
        "tnkit auto, numpy": Way(OURS, lambda: tk.round(net, given, rank=RANK), of_ours),
        "tnkit auto, torch": Way(OURS, lambda: tk.round(net, tensors, rank=RANK), of_ours),
        "torchTT": Way(EXACT, lambda: train.round(0.0, RANK), lambda t: shaped(t.cores)),
        "tntorch": Way(EXACT, rounded_clone, shaped),
        "quimb": Way(EXACT, compressed, cores_of),
    }
    return Case(ways, partial(apart, cores), {"": 1}, {})


def shaped(cores: Any) -> list[np.ndarray]:
    """(left, site, right) cores, as numpy arrays."""
    first, *inner, last = [np.asarray(c) for c in cores]
    return [first.reshape(1, -1, first.shape[-1]), *inner, last.reshape(last.shape[0], -1, 1)]


def apart(cores: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    """Relative error of a chain that is too long to be an array, by inner products."""

    def inner(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
        env = np.ones((1, 1))
        for x, y in zip(a, b, strict=True):
            env = np.einsum("ab,aic,bid->cd", env, x, y, optimize=True)
        return float(env[0, 0])

    whole = inner(cores, cores)
    return sqrt(max(whole - 2 * inner(cores, others) + inner(others, others), 0.0) / whole)


CASES: dict[str, Callable[[], Case]] = {
    f"TT, {'x'.join(map(str, SHAPE))}": tensor_train,
    f"Tucker, {'x'.join(map(str, SHAPE))}": partial(tucker, SHAPE),
    f"ring {RING}, {'x'.join(map(str, SHAPE))}": ring,
    "low rank, 2048x2048": low_rank,
    "TT-matrix 8^4 x 8^4": tt_matrix,
    "QTT 2^24": qtt,
    "tree over 8^8": tree,
    "kernel 512x512x3x3, TT": kernel_tt,
    "kernel 512x512x3x3, Tucker": partial(tucker, KERNEL),
    "kernel 512x512x3x3, tree": kernel_tree,
    "round, 50 sites of 4, rank 32": rounded,
}


def measured(name: str, case: Case, seconds: float, threads: int) -> tuple[list[list[str]], dict[str, Any]]:
    """Rows of the table and the record of one case."""
    errors = {way: case.error(w.dense(w.call())) for way, w in case.ways.items()}
    exact = [errors[way] for way, w in case.ways.items() if w.kind == EXACT]
    took = medians({way: w.call for way, w in case.ways.items()}, threads=threads, seconds=seconds, least=3)
    print(
        name,
        *(f"  {way}: {spelled_seconds(t)}, error {errors[way]:.6f}" for way, t in took.items()),
        sep="\n",
        flush=True,
    )
    rows = []
    for way, w in case.ways.items():
        if w.kind != OURS:
            continue
        assert not exact or errors[way] <= CLOSE * min(exact) + 1e-7, f"{way} loses {errors[way]}, a peer {min(exact)}"
        cells, met = [name, way, spelled_seconds(took[way]), f"{errors[way]:.5f}"], []
        for kind, asked in ((EXACT, case.over_exact), (RANDOMISED, case.over_randomised)):
            peers = [(took[other], other) for other, o in case.ways.items() if o.kind == kind]
            least = next((gain for method, gain in asked.items() if method in way), 0.0)
            if peers:
                best, who = min(peers)
                cells.append(f"{best / took[way]:.1f}x ({who}, {spelled_seconds(best)})")
                met += [f"{least:g}x {kind}: {'met' if best >= least * took[way] else 'missed'}"] if least else []
            else:
                cells.append("")
        if case.most:
            met.append(f"{case.most:g} s: {'met' if took[way] <= case.most else 'missed'}")
        rows.append([*cells, ", ".join(met)])
    return rows, {"case": name, "seconds": took, "errors": errors}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--only", default="", help="part of a case's name")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore")
    rows, records = [], []
    for name, make in CASES.items():
        if args.only in name:
            more, record = measured(name, make(), args.seconds, args.threads)
            rows += more
            records.append(record)
    headers = ["case", "tnkit", "time", "error", "over exact peers", "over randomised", "asked"]
    report(f"decompose-{args.threads}", headers, rows, records, args.threads, whole=not args.only)


if __name__ == "__main__":
    main()
