"""``python -m tests.doors [-v] [tk.norm | tk.init | tknn ...]``: the faults found, and the counts.

Faults of one argument that end alike are one line, with the words of the first; ``-v`` shows each; ``--open`` prints the arguments
at fault alone, ``--tensors`` gives tensors of torch to tnkit in the place of numpy's arrays, as ``tests/doors/open.txt`` lists them.
"""

import sys
import time
from collections import Counter

from .calls import CALLS, with_tensors
from .driver import counts, drive, right_call, workplace


def show(faults, each):
    """Print faults, each or those alike together."""
    alike = {}
    for o in faults:
        alike.setdefault((o.argument, o.end, o.value if each else None), []).append(o)
    for (argument, end, _), them in alike.items():
        values = ", ".join(o.value for o in them)
        print(f"{end:8} {them[0].function}({argument}) {len(them)}: {values}\n         {them[0].words}", flush=True)


def main(asked, each, brief, tensors):
    """Drive the functions asked for (all by default), and print every fault."""
    begin = time.perf_counter()
    names = [n for n in CALLS if not asked or any(n == a or n.startswith(f"{a}.") for a in asked)]
    if not names:
        raise SystemExit(f"no right call is known of {', '.join(asked)}; see CALLS in tests/doors/calls.py")
    found = []
    with workplace():
        if tensors:
            names = [n for n in names if n.startswith("tk.") and with_tensors(n)]
        for name in names:
            right_call(name, tensors)  # what is imported on the way counts for no call
            mine = list(drive(name, tensors))
            faults = [o for o in mine if not o.right]
            if brief:
                print(
                    *dict.fromkeys(f"{o.function} {o.argument}" for o in faults),
                    sep="\n",
                    end="\n" if faults else "",
                    flush=True,
                )
            else:
                show(faults, each)
            found += mine
    pairs = Counter((o.function, o.argument) for o in found if not o.right)
    print(f"{counts(found)}; {len(pairs)} arguments at fault; {time.perf_counter() - begin:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main(
        [a for a in sys.argv[1:] if not a.startswith("-")],
        "-v" in sys.argv,
        "--open" in sys.argv,
        "--tensors" in sys.argv,
    )
