"""How fast this machine multiplies, moves memory and calls: the figures by which orders and ways are compared.

The defaults are safe: they rank orders well on most machines.  :func:`calibrate` measures the machine once, in under a
second, and writes the result to the user's cache; from then on :func:`rates` gives that.  Nothing is measured unasked.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tnkit.core.numbers import real_number
from tnkit.core.wording import count_text
from tnkit.core.writing import replacing

__all__ = ["DEFAULT", "Rates", "calibrate", "rates", "rates_file", "spelled_count", "spelled_seconds"]


@dataclass(frozen=True)
class Rates:
    """Two speeds of a machine, and the time of a call.

    >>> rates = tk.Rates(flops=1e12, bytes=1e10)
    >>> rates.seconds(2e12, 1e10)  # operations, bytes
    3.0
    >>> tk.plan(tk.tt((2, 2), 2)).rates == tk.Rates()  # those of a machine that was not measured
    True

    Attributes
    ----------
    flops
        Operations a second of a large product in float32.
    bytes
        Bytes a second, read or written, of a copy into fresh memory with its axes in another order.
    call
        Seconds of one product of two small matrices in numpy: what Python and a library take to start an operation.  Layers
        of torch are predicted by it, in multiples of it; orders of a contraction are compared without it.
    """

    flops: float = 84e9
    bytes: float = 4e9
    call: float = 1.5e-6

    def __post_init__(self) -> None:
        for name, value in (("flops", self.flops), ("bytes", self.bytes), ("call", self.call)):
            object.__setattr__(self, name, real_number(value, f"Rates: {name}"))

    def __str__(self) -> str:
        return f"{self.flops / 1e9:.3g} GFLOP/s and {self.bytes / 1e9:.3g} GB/s"

    def seconds(self, flops: float, moved: float) -> float:
        """Time of ``flops`` operations and ``moved`` bytes."""
        flops, moved = (
            real_number(x, f"Rates.seconds: {what}", positive=False) for x, what in ((flops, "flops"), (moved, "moved"))
        )
        return flops / self.flops + moved / self.bytes


#: Of a machine that was never measured.
DEFAULT = Rates()
#: What was read or measured in this process: a plan that is known asks for it, so the file is looked for once.
_known: list[Rates] = []


def rates_file() -> Path | None:
    """Where this machine's rates are kept: ``$XDG_CACHE_HOME`` or ``~/.cache``, ``tnkit/rates-<machine>.json``.

    None without a home, as in a container whose user has none: nothing is kept then, least of all in the working directory.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    folder = given if os.path.isabs(given) else os.path.expanduser("~/.cache")
    if not os.path.isabs(folder):
        return None
    machine = "".join(c if c.isalnum() or c in "-_." else "_" for c in platform.node()) or "machine"
    return Path(folder) / "tnkit" / f"rates-{machine}.json"


def rates() -> Rates:
    """The calibrated rates of this machine; the defaults if there are none, or if their file is broken."""
    if not _known:
        file = rates_file()
        _known.append(DEFAULT if file is None else _read_rates(file))
    return _known[0]


def calibrate() -> Rates:
    """Measure this machine (under a second) and use the result from now on, here and in later processes.

    >>> rates = tk.calibrate()  # once a machine
    >>> rates.flops > 0, rates.bytes > 0
    (True, True)
    >>> tk.plan(tk.tt((3, 4, 5), 3)).rates == rates  # plans are made for it from now on
    True

    Plans and layers that exist keep what they were made with.  The products are numpy's, on as many threads as it uses.

    Returns
    -------
    Rates
        The new rates, also where the cache cannot be written: then they last as long as the process.
    """
    found = Rates(_flops(), _measured_bandwidth(), _measured_call())
    file = rates_file()
    if file is not None:
        with suppress(OSError):
            _write_rates(file, found)
    _known[:] = [found]
    return found


def spelled_seconds(seconds: float) -> str:
    """A time in the unit that suits it: ``2.1 ms``."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def spelled_count(number: float) -> str:
    """A number with a prefix of its size: ``16.8M``; beyond the last of them its power of ten, ``1.23e+40``."""
    if number >= 1e30:
        return count_text(number) if isinstance(number, int) else f"{number:.3g}"
    for unit in ("", "k", "M", "G", "T", "P", "E"):
        if number < 1000:
            return f"{number:.3g}{unit}" if unit else f"{number:.0f}"
        number /= 1000
    return f"{number:.3g}Z"


def _read_rates(path: Path) -> Rates:
    try:
        return Rates(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # no file, no JSON, or JSON of something else
        return DEFAULT


def _write_rates(path: Path, found: Rates) -> None:
    """Whole or not at all, so that no reader meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(asdict(found)), encoding="utf-8")


def _flops() -> float:
    n = 384
    a = np.ones((n, n), np.float32)
    return 2 * n**3 / _shortest_time(lambda: a @ a)


def _measured_bandwidth() -> float:
    """Of a copy that brings a middle axis of a few megabytes to the front, as the steps of a plan do."""
    x = np.ones((8, 8, 256, 8, 8), np.float32).transpose(0, 1, 3, 2, 4)  # 4 MiB
    return 2 * x.nbytes / _shortest_time(lambda: np.ascontiguousarray(x))


def _measured_call(times: int = 200) -> float:
    a, b = np.ones((16, 2), np.float32), np.ones((2, 16), np.float32)

    def calls() -> None:
        for _ in range(times):
            a @ b

    return _shortest_time(calls, 0.05) / times


def _shortest_time(call: Callable[[], object], seconds: float = 0.2) -> float:
    """Shortest wall time of a call, taken for about so long: what else runs on the machine only lengthens it."""
    call()
    took: list[float] = []
    while sum(took) < seconds or len(took) < 5:
        begin = time.perf_counter()
        call()
        took.append(time.perf_counter() - begin)
    return min(took)
