"""The ground state of a Heisenberg chain by sweeps over pairs of sites (DMRG: White 1992), with its variance, beside exact diagonalisation.

python examples/physics/dmrg.py          (at full size: half a minute)
python examples/physics/dmrg.py --small  (seconds: it shows that all works, and nothing else)

A pair of neighbouring sites at a time is set to the lowest eigenvector of the Hamiltonian between the environments, then split into two
sites again.  The variance of the energy says how far the state is from an eigenstate, without a reference.
"""

import sys
from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

import tnkit as tk

FULL = {"sites": 60, "ranks": (8, 16, 32, 64, 64, 64), "tol": 1e-7, "exact_sites": 14}
SMALL = {"sites": 10, "ranks": (4, 8, 16, 32), "tol": 1e-7, "exact_sites": 6}

X, Y, Z = (np.array(m) / 2 for m in ([[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]))


# -- the algorithm ----------------------------------------------------------------------------------------------------
def product(around: Sequence[np.ndarray], shape: tuple[int, ...], x: np.ndarray) -> np.ndarray:
    """The Hamiltonian between its environments, times a pair of sites."""
    return tk.einsum("alx,loim,mpjr,bry,aijb->xopy", *around, x.reshape(shape)).reshape(-1)


def ground_state(h: list[np.ndarray], state: list[np.ndarray], ranks: Sequence[int], tol: float) -> list[float]:
    """Sweeps to and fro, one a rank: the state, in canonical form about its first site before and after, is replaced; the energies.

    Arrays of the operator have axes (bond, out, in, bond), those of the state (bond, site, bond), also at the ends.
    """
    n, energies, end = len(h), [], np.ones((1, 1, 1))
    left, right = {0: end}, {n - 1: end}  # around each site: bonds of state, operator, conjugate
    for k in range(n - 1, 1, -1):
        right[k - 1] = tk.einsum("bmy,aib,loim,xoy->alx", right[k], state[k], h[k], state[k].conj())
    for rank in ranks:
        for k, to in [*((k, "right") for k in range(n - 2)), *((k, "left") for k in range(n - 2, -1, -1))]:
            pair = tk.einsum("aib,bjc->aijc", state[k], state[k + 1])
            around = left[k], h[k], h[k + 1], right[k + 1]
            act = LinearOperator((pair.size,) * 2, partial(product, around, pair.shape), dtype=pair.dtype)
            energy, pair_vector = eigsh(act, 1, which="SA", v0=pair.reshape(-1), ncv=4, tol=1e-3)
            net = tk.Network((tk.Node("pair", "aijb"),), "aijb", dict(zip("aijb", pair.shape, strict=True)))
            found = tk.split(net, {"pair": pair_vector.reshape(pair.shape)}, "pair", "ai", rank, tol, absorb=to)
            state[k], state[k + 1] = found.arrays.values()
            if to == "right":
                left[k + 1] = tk.einsum("alx,aib,loim,xoy->bmy", left[k], state[k], h[k], state[k].conj())
            else:
                right[k] = tk.einsum("bmy,aib,loim,xoy->alx", right[k + 1], state[k + 1], h[k + 1], state[k + 1].conj())
        energies.append(float(energy[0]))
    return energies


# -- the physics ------------------------------------------------------------------------------------------------------
def heisenberg(sites: int) -> tuple[tk.Network, dict[str, np.ndarray]]:
    """The sum over bonds of the products of neighbouring spins, as an operator."""
    flips = [X + 1j * Y, X - 1j * Y]
    terms = [(1.0, {k: Z, k + 1: Z}) for k in range(sites - 1)]
    terms += [(0.5, {k: a.real, k + 1: b.real}) for k in range(sites - 1) for a, b in (flips, flips[::-1])]
    return tk.operator(terms, (2,) * sites)


def with_ends(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The arrays of a chain, the first and the last with a bond of size 1 at their ends."""
    found = list(arrays.values())
    return [found[0][None], *found[1:-1], found[-1][..., None]]


def solved(
    sites: int, ranks: Sequence[int], tol: float
) -> tuple[list[float], tuple[tk.Network, dict[str, np.ndarray]]]:
    """The energy after each sweep, and the state."""
    net = tk.mps((2,) * sites, ranks[0])
    _, start = tk.canonicalize(net, tk.init.normal(net, seed=0), "core_0")
    state = with_ends(start)
    state[0] = state[0] / np.linalg.norm(state[0])
    energies = ground_state(with_ends(heisenberg(sites)[1]), state, ranks, tol)
    names = {f"core_{k}": net[f"core_{k}"].inds for k in range(sites)}
    arrays = [state[0][0], *state[1:-1], state[-1][..., 0]]
    return energies, tk.from_arrays({n: (a, names[n]) for n, a in zip(names, arrays, strict=True)}, output=net.output)


def exact(sites: int) -> float:
    """The lowest energy from vectors of 2**sites entries."""
    h, arrays = heisenberg(sites)
    matrix = tk.linear_operator(h, arrays, h.output[:sites], h.output[sites:])
    return float(eigsh(matrix, 1, which="SA", tol=1e-12, return_eigenvectors=False)[0])


def main(small: bool = False) -> dict:
    """Solve, compare, and say what came out."""
    size = SMALL if small else FULL
    few = size["exact_sites"]
    off = solved(few, size["ranks"], 1e-12)[0][-1] - exact(few)
    energies, state = solved(size["sites"], size["ranks"], size["tol"])
    h = heisenberg(size["sites"])
    energy = float(tk.expect(h, state))
    acted = tk.apply(h, state)
    variance = float(tk.inner(acted, acted) / tk.inner(state, state)) - energy**2
    entropy = [float(s) for s in tk.bond_entropy(state).values()]
    print(f"{few} sites: the energy is {off:.1e} above the exact one")
    print(
        f"{size['sites']} sites: energies after each sweep {', '.join(f'{e:.8f}' for e in energies)}; variance {variance:.1e}"
    )
    return {
        "size": size,
        "off_exact": off,
        "energies": energies,
        "energy": energy,
        "variance": variance,
        "entropy": entropy,
    }


if __name__ == "__main__":
    main(small="--small" in sys.argv)
