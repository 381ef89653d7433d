"""Time evolution of a Heisenberg chain by gates on a matrix product state (TEBD: Vidal 2004), beside the exact evolution.

python examples/physics/tebd.py          (at full size: a minute)
python examples/physics/tebd.py --small  (seconds: it shows that all works, and nothing else)

A domain wall, left half up and right half down, melts.  Steps are of second order in time: half a step on the even bonds, one on the
odd bonds, half a step on the even ones.  The gates of a layer go along the chain with the centre of the canonical form, so that every
truncation is optimal, and its error is that of the whole state.
"""

import sys
from collections.abc import Sequence

import numpy as np
from scipy.linalg import expm
from scipy.sparse.linalg import expm_multiply

import tnkit as tk

FULL = {"sites": 50, "time": 6.0, "step": 0.05, "rank": 64, "tol": 1e-6, "exact_sites": 12, "exact_time": 2.0}
SMALL = {"sites": 10, "time": 0.4, "step": 0.1, "rank": 16, "tol": 1e-6, "exact_sites": 6, "exact_time": 0.4}

X, Y, Z = (np.array(m) / 2 for m in ([[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]))
#: The energy of a bond, as a matrix over both sites.
BOND = sum(np.kron(s, s) for s in (X, Y, Z)).real


# -- the algorithm ----------------------------------------------------------------------------------------------------
def layer(state: tk.Decomposition, gate: np.ndarray, bonds: Sequence[int], center: int, rank: int, tol: float) -> tuple:
    """A gate on each of these bonds, from the side of the centre to the other; where the centre is then, and what was lost."""
    right, lost = bonds[0] <= bonds[-1], 0.0
    for k in bonds:
        state = tk.apply_gate(
            *state, gate, (f"i{k}", f"i{k + 1}"), rank, tol, absorb="right" if right else "left", center=f"core_{center}"
        )  # fmt: skip
        center, lost = k + right, lost + state.error**2
    return state, center, lost


def evolved(state: tk.Decomposition, step: float, steps: int, rank: int, tol: float) -> tuple[tk.Decomposition, float]:
    """The state after so many steps, and the sum of the squared errors of all truncations; the centre is core_0 before and after."""
    bonds = list(range(len(state.network.nodes) - 1))
    half, whole = expm(-0.5j * step * BOND), expm(-1j * step * BOND)
    state, center, total = layer(state, half, bonds[::2], 0, rank, tol)
    for k in range(steps):
        state, center, lost = layer(state, whole, bonds[1::2][::-1], center, rank, tol)
        total += lost
        last = k == steps - 1  # the half steps between two steps are one
        state, center, lost = layer(state, half if last else whole, bonds[::2], center, rank, tol)
        total += lost
    return state, total


# -- the physics ------------------------------------------------------------------------------------------------------
def domain_wall(sites: int) -> tk.Decomposition:
    """Up on the left half, down on the right."""
    net = tk.mps((2,) * sites, 1)
    up, down = np.eye(2, dtype=complex)
    spins = [up] * (sites // 2) + [down] * (sites - sites // 2)
    return tk.Decomposition(
        net, {f"core_{k}": s.reshape(net.array_shapes[f"core_{k}"]) for k, s in enumerate(spins)}, 0.0, {}
    )


def magnetisation(state: tk.Decomposition) -> list[float]:
    """Of each site, in units of the spin."""
    found = tk.local_expectation(state, {i: Z for i in state.network.output})
    return [float(np.real(found[i])) for i in state.network.output]


def exact(sites: int, time: float) -> list[float]:
    """The same from the whole vector of 2**sites entries: the Hamiltonian as an operator, never formed."""
    terms = [(1.0, {k: s, k + 1: s}) for k in range(sites - 1) for s in (X, Y, Z)]
    h, arrays = tk.operator(terms, (2,) * sites)
    matrix = tk.linear_operator(h, arrays, h.output[:sites], h.output[sites:])
    start = tk.contract(domain_wall(sites)).reshape(-1)
    found = abs(expm_multiply(-1j * time * matrix, start, traceA=0.0).reshape((2,) * sites)) ** 2
    return [float(np.moveaxis(found, k, 0)[0].sum() - 0.5) for k in range(sites)]


def main(small: bool = False) -> dict:
    """Evolve, compare, and say what came out."""
    size = SMALL if small else FULL
    few, steps = size["exact_sites"], round(size["exact_time"] / size["step"])
    checked, _ = evolved(domain_wall(few), size["step"], steps, 2 ** (few // 2), 0.0)
    off = float(np.abs(np.subtract(magnetisation(checked), exact(few, size["exact_time"]))).max())
    state, total = evolved(
        domain_wall(size["sites"]), size["step"], round(size["time"] / size["step"]), size["rank"], size["tol"]
    )
    middle = size["sites"] // 2
    found = {
        "off_exact": off, "magnetisation": magnetisation(state), "truncated": total, "norm": float(tk.norm(state)),
        "rank": max(state.network.sizes.values()), "entropy": float(tk.bond_entropy(state)[f"b{middle}"]),
    }  # fmt: skip
    print(f"{few} sites to time {size['exact_time']}: the magnetisation is within {off:.1e} of the exact evolution")
    print(f"{size['sites']} sites to time {size['time']}: bonds up to {found['rank']}, {total:.1e} of the squared norm truncated; "
          f"entropy of the middle bond {found['entropy']:.3f}")  # fmt: skip
    return {"size": size, **found}


if __name__ == "__main__":
    main(small="--small" in sys.argv)
