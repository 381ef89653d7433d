"""The Ising model on a square lattice by approximate contraction, beside the exact solution of the infinite one (Onsager 1944, Yang 1952).

python examples/physics/ising.py          (at full size: some minutes)
python examples/physics/ising.py --small  (seconds: it shows that all works, and nothing else)

A spin is an index of size 2, a bond a matrix of Boltzmann weights between two spins, and the partition function the contraction.  A spin has
up to four bonds, so that its index is a hyperedge.  The magnetisation is that of the middle spin, the spins around the lattice being up.
The free energy is that of a site more in the bulk: ``log Z`` of four lattices is combined so that sides and corners drop out.
"""

import sys
from math import asinh, cosh, log, pi, sinh, tanh

import numpy as np
from scipy.integrate import quad

import tnkit as tk

FULL = {
    "side": 33,
    "bulk_side": 32,
    "max_bond": 16,
    "temperatures": [1.6, 1.8, 2.0, 2.1, 2.2, 2.25, 2.3, 2.35, 2.4, 2.5, 2.6, 2.8, 3.0, 3.2],
}
SMALL = {"side": 7, "bulk_side": 6, "max_bond": 8, "temperatures": [1.6, 3.2]}


# -- the network ------------------------------------------------------------------------------------------------------
def lattice(rows: int, cols: int) -> tk.Network:
    """One matrix a bond, one vector for the spins outside beside those at the rim, one for what is measured in the middle."""
    spin = [[f"s{r},{c}" for c in range(cols)] for r in range(rows)]
    pairs = [(spin[r][c], spin[r][c + 1]) for r in range(rows) for c in range(cols - 1)]
    pairs += [(spin[r][c], spin[r + 1][c]) for r in range(rows - 1) for c in range(cols)]
    nodes = [tk.Node(f"bond {a} {b}", (a, b), array="bond") for a, b in pairs]
    rim = [*spin[0], *spin[-1], *(row[0] for row in spin), *(row[-1] for row in spin)]
    nodes += [tk.Node(f"rim {k} {i}", (i,), array="rim") for k, i in enumerate(rim)]
    nodes.append(tk.Node("middle", (spin[rows // 2][cols // 2],)))
    return tk.Network(nodes, (), {i: 2 for row in spin for i in row})


def log_z(net: tk.Network, beta: float, max_bond: int, middle: tuple = (1.0, 1.0)) -> float:
    """The logarithm of the sum over all spins."""
    s = np.array([1.0, -1.0])
    arrays = {"bond": np.exp(beta * np.outer(s, s)), "rim": np.exp(beta * s), "middle": np.array(middle)}
    value, exponent = tk.contract_approx(net, arrays, max_bond=max_bond, strip_exponent=True)
    return float(np.log(value) + exponent * log(10))


def magnetisation(side: int, beta: float, max_bond: int) -> float:
    """Of the middle spin: twice the probability that it is up, less one."""
    net = lattice(side, side)
    up = log_z(net, beta, max_bond, middle=(1.0, 0.0)) - log_z(net, beta, max_bond)
    return 2 * float(np.exp(up)) - 1


def bulk_free_energy(side: int, beta: float, max_bond: int) -> float:
    """``log Z`` that a site more adds far from all sides."""
    sizes = {(0, 0): 1, (1, 1): 1, (0, 1): -1, (1, 0): -1}
    return sum(sign * log_z(lattice(side + a, side + b), beta, max_bond) for (a, b), sign in sizes.items())


# -- the exact solution -----------------------------------------------------------------------------------------------
def onsager(beta: float) -> float:
    """``log Z`` a site of the infinite lattice."""
    k = 2 * tanh(2 * beta) / cosh(2 * beta)
    integral, _ = quad(
        lambda t: log((1 + np.sqrt(max(1 - (k * np.sin(t)) ** 2, 0.0))) / 2), 0, pi / 2, points=[pi / 2], epsabs=1e-13
    )
    return log(2 * cosh(2 * beta)) + integral / pi


def yang(beta: float) -> float:
    """The spontaneous magnetisation of the infinite lattice."""
    return max(1 - sinh(2 * beta) ** -4, 0.0) ** 0.125


def main(small: bool = False) -> dict:
    """Both quantities at every temperature, and how far they are from the infinite lattice."""
    size = SMALL if small else FULL
    rows = []
    for t in size["temperatures"]:
        beta = 1 / t
        rows.append({
            "temperature": t, "magnetisation": magnetisation(size["side"], beta, size["max_bond"]), "yang": yang(beta),
            "free_energy": bulk_free_energy(size["bulk_side"], beta, size["max_bond"]), "onsager": onsager(beta),
        })  # fmt: skip
        print("T {temperature:.2f}: magnetisation {magnetisation:.6f} (exact {yang:.6f}), log Z a site {free_energy:.10f} "
              "(exact {onsager:.10f})".format(**rows[-1]), flush=True)  # fmt: skip
    return {"size": size, "critical": 2 / asinh(1), "rows": rows}


if __name__ == "__main__":
    main(small="--small" in sys.argv)
