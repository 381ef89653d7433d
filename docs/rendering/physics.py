"""The figures of docs/physics.md, from the results in examples/results/physics."""

from __future__ import annotations

from rendering.common import example


def evolution() -> str:
    """What the time evolution found."""
    found, size = example("physics/tebd"), example("physics/tebd")["size"]
    return (
        f"- {size['exact_sites']} sites to time {size['exact_time']:g}: the magnetisation is within {found['off_exact']:.1e} of the exact evolution.\n"
        f"- {size['sites']} sites to time {size['time']:g}: bonds reach {found['rank']}. Truncation takes {found['truncated']:.1e} of the squared norm.\n"
        f"- The entropy of the middle bond is then {found['entropy']:.3f} nats."
    )


def ground_state() -> str:
    """The energies, and how far the state is from an eigenstate."""
    found, size = example("physics/dmrg"), example("physics/dmrg")["size"]
    lines = ["| sweep | bond | energy |", "| ---: | ---: | ---: |"]
    for k, (rank, energy) in enumerate(zip(size["ranks"], found["energies"], strict=True)):
        lines.append(f"| {k + 1} | {rank} | {energy:.8f} |")
    return "\n".join([
        *lines, "",
        f"- {size['exact_sites']} sites: the energy differs from exact diagonalisation by {abs(found['off_exact']):.0e}.",
        f"- {size['sites']} sites: the variance of the energy is {found['variance']:.0e}.",
    ])  # fmt: skip


def ising() -> str:
    """Magnetisation and free energy beside the exact ones."""
    found = example("physics/ising")
    lines = ["| temperature | magnetisation | exact | log Z a site | error |", "| ---: | ---: | ---: | ---: | ---: |"]
    for row in found["rows"]:
        lines.append(
            f"| {row['temperature']:.2f} | {row['magnetisation']:.6f} | {row['yang']:.6f} | {row['free_energy']:.10f} | "
            f"{abs(row['free_energy'] - row['onsager']):.0e} |"
        )
    return "\n".join(lines)
