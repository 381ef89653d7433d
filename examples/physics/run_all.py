"""Runs the examples of physics at full size and writes what each found to examples/results/physics/, and the picture of docs/physics.md.

python examples/physics/run_all.py          (all three: some minutes on an idle machine)
python examples/physics/run_all.py ising    (this alone)
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "examples"))
from recorded import measured, write  # noqa: E402

NAMES = ["tebd", "dmrg", "ising"]
RESULTS = ROOT / "examples/results/physics"


def picture() -> None:
    """The magnetisation and the error of the free energy over the temperature, from the committed result."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "ising"
    import matplotlib.pyplot as plt
    import numpy as np
    from ising import yang

    found = json.loads((RESULTS / "ising.json").read_text())
    rows, critical = found["rows"], found["critical"]
    t = [row["temperature"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    fine = np.linspace(t[0], t[-1], 500)
    left.plot(fine, [yang(1 / x) for x in fine], label="exact, infinite lattice")
    left.plot(
        t,
        [row["magnetisation"] for row in rows],
        "o",
        label=f"tnkit, {found['size']['side']} x {found['size']['side']} spins",
    )
    left.set(xlabel="temperature", ylabel="magnetisation")
    left.legend()
    right.semilogy(t, [abs(row["free_energy"] - row["onsager"]) for row in rows], "o-")
    right.axvline(critical, color="grey", lw=0.8)
    right.set(xlabel="temperature", ylabel="error of log Z a site")
    figure.savefig(ROOT / "docs/ising.svg", metadata={"Date": None})


if __name__ == "__main__":
    RESULTS.mkdir(parents=True, exist_ok=True)
    for each in sys.argv[1:] or NAMES:
        write(RESULTS / f"{each}.json", measured(each))
    picture()
