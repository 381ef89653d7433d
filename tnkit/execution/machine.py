"""What the machine can hold: a contraction that cannot fit is refused before it begins, not killed in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isinf, prod
from pathlib import Path
from typing import Any

from tnkit.core.numbers import as_float
from tnkit.core.wording import count_text, shown
from tnkit.planning.plan import Plan

__all__ = ["available", "check_constant", "check_room", "itemsize"]

#: Tensors of fewer entries in all are not compared with what is free: asking takes longer than a small contraction.
_SMALL = 2**25
_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def available() -> tuple[int, str]:
    """Bytes that can still be taken, and whose limit that is: the machine's memory, or a container's."""
    import psutil  # when asked for: most contractions are small

    free, whose = int(psutil.virtual_memory().available), "this machine"
    if (left := _address_space()) < free:
        free, whose = max(int(left), 0), "this process (ulimit -v)"
    for limit, used, cache in _container_limits():
        if (left := limit - used + cache) < free:
            free, whose = max(left, 0), "this container"
    return free, whose


def check_room(plan: Plan, given: Sequence[Any], who: str) -> None:
    """MemoryError for a plan whose tensors cannot fit beside its arrays, with the ways out.

    Arrays on a device are left to the library, whose own error names that device.
    """
    if plan.entries < _SMALL or not given or "cpu" not in str(getattr(given[0], "device", "cpu")).lower():
        return
    entries = plan.peak // plan.itemsize - sum(prod(x.shape) for x in given)
    needed = entries * max(itemsize(x) for x in given)
    free, whose = available()
    if needed <= free:
        return
    net = plan.network
    result = prod(net.shape) * max(itemsize(x) for x in given)
    if result > 0.5 * free:
        ways = f"; the result alone takes {_bytes(result)}"
        ways += "; tk.norm, tk.inner and tk.distance do not form it" if net.multilinear else ""
    else:
        ways = "; memory_limit= runs it slice by slice" if who in ("contract", "einsum", "run") else ""
        ways += ", and tk.contract_approx gives it approximately" if ways and net.multilinear else ""
    raise MemoryError(
        f"{who}: {net!r} needs {_bytes(needed)} beside its arrays (plan.peak), and {whose} has {_bytes(free)} left{ways}"
    )


def check_constant(name: str, shape: Sequence[int], what: str = "the constant array") -> None:
    """MemoryError for an array in double precision that cannot be formed, by its name and by ``what`` it is."""
    if prod(shape) < _SMALL:
        return
    free, whose = available()
    if 8 * prod(shape) > free:
        raise MemoryError(
            f"{what} {name!r} of shape {shown(tuple(shape))} takes {_bytes(8 * prod(shape))}, and {whose} has {_bytes(free)} left"
        )


def itemsize(x: Any) -> int:
    """Bytes of an entry."""
    size = getattr(x.dtype, "itemsize", None)  # torch and numpy have it
    return int(size) if size else 8


def _bytes(number: float) -> str:
    if isinf(as_float(number)) and isinstance(number, int):
        return f"{count_text(number)} B"
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} EB"


def _address_space() -> float:
    """What a limit of the process leaves, of memory asked for; infinite without one."""
    try:
        import resource
    except ImportError:  # not on Windows
        return inf
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return inf
    import psutil

    return limit - int(psutil.Process().memory_info().vms)


def _container_limits() -> list[tuple[int, int, int]]:
    """Limit, use, and what of that use can be dropped (files in memory), of each group of processes that this one is in."""
    found = []
    for line in _text(_MEMBERSHIP).splitlines():
        _, kinds, path = line.split(":", 2)
        if not kinds:  # version 2: a limit may stand on any group above
            groups = [_GROUPS / path.strip("/"), *(_GROUPS / path.strip("/")).parents]
            names = ("memory.max", "memory.current")
        elif "memory" in kinds.split(","):
            groups = [_GROUPS / "memory" / path.strip("/"), _GROUPS / "memory"]
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        for group in groups:
            limit, used = (_text(group / name).strip() for name in names)
            if limit.isdigit() and used.isdigit():
                found.append((int(limit), int(used), _droppable(_text(group / "memory.stat"))))
    return found


def _droppable(stat: str) -> int:
    rows = dict(line.split(maxsplit=1) for line in stat.splitlines() if " " in line)
    return int(rows.get("inactive_file", rows.get("total_inactive_file", "0")))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
