"""What is done with networks, beside quimb: gates, sweeps, operators, approximate contraction, rounding; time, error, lines of code.

``python benchmarks/moves.py [--quick] [--only TEXT]`` prints a row a case and writes ``out/bench/moves.json``.  Both sides are asked for
the same thing, at the same bonds, in one process, in turn, on one thread.  Errors are measured before the times, against what the case
names.  Lines are those of the functions below (and of examples/physics for the first two), without docstrings.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import quimb.tensor as qtn
import timing

import tnkit as tk

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "physics"))
import dmrg
import tebd


@dataclass(frozen=True)
class Case:
    """One job done by both.

    Attributes
    ----------
    name
        What it is.
    ours, theirs
        Functions without arguments.
    error
        Of what either returns.
    against
        What the error is measured against.
    lines
        Functions that do it: ours, theirs.
    """

    name: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    error: Callable[[Any], float]
    against: str
    lines: tuple[Sequence[Any], Sequence[Any]]


def lines_of(functions: Sequence[Any]) -> int:
    """Lines of code of functions, without docstrings and blank lines."""
    total = 0
    for f in functions:
        text = textwrap.dedent(inspect.getsource(f))
        made = ast.parse(text).body[0]
        assert isinstance(made, ast.FunctionDef)
        first = made.body[0]
        told = ast.get_docstring(made) is not None
        code = sum(bool(line.strip()) for line in text.splitlines())
        said = text.splitlines()[first.lineno - 1 : first.end_lineno] if told else []
        total += code - sum(bool(line.strip()) for line in said)
    return total


# -- time evolution -----------------------------------------------------------------------------------------------------
STEP, RANK, TOL = 0.05, 64, 1e-6


def tebd_quimb(sites: int, time: float) -> Any:
    psi = qtn.MPS_computational_state("0" * (sites // 2) + "1" * (sites - sites // 2), dtype="complex128")
    evolution = qtn.TEBD(psi, H=qtn.ham_1d_heis(sites), dt=STEP, progbar=False)
    evolution.split_opts.update(max_bond=RANK, cutoff=TOL**2, cutoff_mode="rsum2")
    evolution.update_to(time, order=2)
    return evolution.pt


def evolution(sites: int, time: float) -> Case:
    def ours() -> Any:
        return tebd.evolved(tebd.domain_wall(sites), STEP, round(time / STEP), RANK, TOL)[0]

    @cache
    def finer() -> np.ndarray:
        return np.array(
            tebd.magnetisation(tebd.evolved(tebd.domain_wall(sites), STEP, round(time / STEP), RANK, 1e-9)[0])
        )

    def error(state: Any) -> float:
        tnkit = isinstance(state, tk.Decomposition)
        found = tebd.magnetisation(state) if tnkit else [state.magnetization(k) for k in range(sites)]
        return float(np.abs(np.real(found) - finer()).max())

    return Case(
        f"TEBD, {sites} sites to time {time:g}", ours, lambda: tebd_quimb(sites, time), error,
        "the magnetisation with less truncated", ((tebd.layer, tebd.evolved), (tebd_quimb,)),
    )  # fmt: skip


# -- ground states ------------------------------------------------------------------------------------------------------
def dmrg_quimb(sites: int, ranks: Sequence[int]) -> float:
    search = qtn.DMRG2(qtn.MPO_ham_heis(sites), bond_dims=list(ranks), cutoffs=1e-14)
    search.solve(tol=1e-13, max_sweeps=len(ranks), verbosity=0)
    return float(np.real(search.energy))


def ground_state(sites: int, ranks: Sequence[int]) -> Case:
    @cache
    def lowest() -> float:
        return dmrg.solved(sites, (8, 16, 32, 64, 128, 128), 1e-10)[0][-1]

    return Case(
        f"DMRG, {sites} sites, bond {ranks[-1]}", lambda: dmrg.solved(sites, ranks, TOL / 10)[0][-1],
        lambda: dmrg_quimb(sites, ranks), lambda energy: abs(energy - lowest()), "the energy at bond 128",
        ((dmrg.product, dmrg.ground_state), (dmrg_quimb,)),
    )  # fmt: skip


# -- operators ----------------------------------------------------------------------------------------------------------
def applied(sites: int, rank: int) -> Case:
    state, operator = tk.mps((2,) * sites, rank), tk.mpo((2,) * sites, (2,) * sites, 4)
    arrays, matrices = tk.init.normal(state, seed=0), tk.init.normal(operator, seed=1)
    ends = [x[None] if k == 0 else x[..., None] if k == sites - 1 else x for k, x in enumerate(arrays.values())]
    psi = qtn.MatrixProductState(ends_off(ends), shape="lpr")
    ends = [x[None] if k == 0 else x[..., None] if k == sites - 1 else x for k, x in enumerate(matrices.values())]
    op = qtn.MatrixProductOperator(ends_off(ends), shape="ludr")

    def ours() -> Any:
        return tk.apply(operator, matrices, state, arrays, rank=rank)

    def theirs() -> Any:
        return op.apply(psi, compress=True, max_bond=rank, cutoff=0.0)

    exact = tk.contract(*tk.apply(operator, matrices, state, arrays)).reshape(-1)

    def error(found: Any) -> float:
        dense = tk.contract(*found) if isinstance(found, tk.Decomposition) else found.to_dense()
        return float(np.linalg.norm(np.asarray(dense).reshape(-1) - exact) / np.linalg.norm(exact))

    return Case(
        f"operator on a state, {sites} sites, rank {rank}", ours, theirs, error, "the product", ((ours,), (theirs,))
    )


def ends_off(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """As quimb takes a chain: no bond at its ends."""
    return [arrays[0][0], *arrays[1:-1], arrays[-1][..., 0]]


# -- approximate contraction --------------------------------------------------------------------------------------------
def from_quimb(tn: Any) -> tuple[tk.Network, dict[str, np.ndarray]]:
    """A network of quimb without open indices, the same arrays."""
    return tk.from_arrays({f"t{k}": (np.asarray(t.data), t.inds) for k, t in enumerate(tn)}, output=())


def boundary(side: int, chi: int) -> Case:
    tn = qtn.TN2D_classical_ising_partition_function(side, side, beta=log(1 + 2**0.5) / 2)
    net, arrays = from_quimb(tn)

    def ours() -> Any:
        return tk.contract_approx(net, arrays, max_bond=chi, strip_exponent=True)

    def theirs() -> Any:
        return tn.contract_boundary(max_bond=chi, cutoff=0.0, equalize_norms=1.0, strip_exponent=True)

    @cache
    def right() -> tuple[float, float]:
        if side <= 16:
            return tk.contract(net, arrays, strip_exponent=True)  # type: ignore[no-any-return]
        return tk.contract_approx(net, arrays, max_bond=3 * chi, strip_exponent=True)  # type: ignore[no-any-return]

    against = "the exact contraction" if side <= 16 else f"bond {3 * chi}"
    return Case(
        f"critical Ising {side} x {side}, bond {chi}",
        ours,
        theirs,
        lambda z: off(z, right()),
        against,
        ((ours,), (theirs,)),
    )


def off(found: tuple[Any, Any], right: tuple[Any, Any]) -> float:
    """Relative error of mantissa and exponent."""
    return abs(float(found[0]) / float(right[0]) * 10.0 ** float(found[1] - right[1]) - 1)


def regular(nodes: int, chi: int) -> Case:
    tn = qtn.TN_rand_reg(nodes, 3, 2, seed=1, dist="uniform", loc=-0.2)
    net, arrays = from_quimb(tn)

    def ours() -> Any:
        return tk.contract_approx(net, arrays, max_bond=chi, method="compressed", strip_exponent=True)

    def theirs() -> Any:
        return tn.contract_compressed(
            "greedy-compressed", max_bond=chi, cutoff=0.0, equalize_norms=1.0, strip_exponent=True
        )

    right = cache(lambda: tk.contract(net, arrays, strip_exponent=True))
    name = f"random 3-regular graph, {nodes} nodes, bond {chi}"
    return Case(name, ours, theirs, lambda z: off(z, right()), "the exact contraction", ((ours,), (theirs,)))


# -- rounding -----------------------------------------------------------------------------------------------------------
def rounded(sites: int, rank: int) -> Case:
    """A budget of a third; quimb has none, and is given the least cutoff of all values whose result keeps it."""
    net = tk.mps((2,) * sites, rank)
    arrays = tk.init.normal(net, seed=0)
    for k in range(1, sites):  # singular values that fall
        x = arrays[f"core_{k}"]
        arrays[f"core_{k}"] = (x.T * 0.8 ** np.arange(x.shape[0])).T
    psi, budget = qtn.MatrixProductState(list(arrays.values()), shape="lpr"), net.num_params // 3
    psi /= psi.norm()
    psi.permute_arrays("lpr")
    arrays = {name: np.asarray(t.data) for name, t in zip(arrays, psi, strict=True)}

    def ours() -> Any:
        return tk.round(net, arrays, budget=budget)

    def theirs() -> Any:
        low, high, best = -16.0, 0.0, None
        for _ in range(12):
            middle = (low + high) / 2
            made = psi.copy()
            made.compress(cutoff=10**middle, cutoff_mode="rsum2")
            fits = sum(t.size for t in made) <= budget
            low, high, best = (low, middle, made) if fits else (middle, high, best)
        return best

    def error(found: Any) -> float:
        if isinstance(found, tk.Decomposition):
            return float(tk.distance(net, arrays, *found) / tk.norm(net, arrays))
        return float(abs(psi.distance(found)))

    return Case(f"{sites} sites of rank {rank} to a third", ours, theirs, error, "the state", ((ours,), (theirs,)))


CASES: dict[str, Callable[[], Case]] = {
    "tebd": lambda: evolution(20, 2.0), "tebd large": lambda: evolution(50, 6.0),
    "dmrg": lambda: ground_state(20, (8, 16, 32, 64)), "dmrg large": lambda: ground_state(40, (8, 16, 32, 64)),
    "apply": lambda: applied(20, 16),
    "boundary 16": lambda: boundary(16, 8), "boundary 24": lambda: boundary(24, 32), "boundary 40": lambda: boundary(40, 32),
    "regular": lambda: regular(100, 8), "round": lambda: rounded(40, 16), "round large": lambda: rounded(200, 16),
}  # fmt: skip


def measured(case: Case, seconds: float) -> dict[str, Any]:
    """Errors, then times."""
    errors = {"tnkit": case.error(case.ours()), "quimb": case.error(case.theirs())}
    times = timing.medians({"tnkit": case.ours, "quimb": case.theirs}, seconds=seconds, least=3)
    lines = {"tnkit": lines_of(case.lines[0]), "quimb": lines_of(case.lines[1])}
    return {"case": case.name, "seconds": times, "error": errors, "lines": lines, "against": case.against}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less time for each case")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    records, rows = [], []
    for name, make in CASES.items():
        if chosen.only not in name:
            continue
        found = measured(make(), 0.3 if chosen.quick else 2.0)
        records.append(found)
        ratio = found["seconds"]["tnkit"] / found["seconds"]["quimb"]
        rows.append([
            found["case"], *(f"{1e3 * found['seconds'][w]:,.0f}" for w in ("tnkit", "quimb")), f"{ratio:.2f}",
            *(f"{found['error'][w]:.1e}" for w in ("tnkit", "quimb")), *(str(found["lines"][w]) for w in ("tnkit", "quimb")), found["against"],
        ])  # fmt: skip
        print(*rows[-1], sep="  ", flush=True)
    heads = [
        "case",
        "tnkit, ms",
        "quimb, ms",
        "ratio",
        "error, tnkit",
        "quimb",
        "lines, tnkit",
        "quimb",
        "error against",
    ]
    timing.report("moves", heads, rows, records, whole=not chosen.only)


if __name__ == "__main__":
    main()
