"""Runs the examples at full size, one after another on one thread, and writes what each found to examples/results/.

python examples/run_all.py             (all eight: twenty minutes on an idle machine)
python examples/run_all.py lstm gpt    (these alone)
"""

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks" / "paper"))
sys.path.append(str(ROOT / "examples"))
from digests import digests_of  # noqa: E402
from recorded import measured, write  # noqa: E402

COMPARED = ("families", "approximation", "comparison")
#: Example -> the code that its result depends on beside its own (``PARTS`` of benchmarks/paper/digests.py).
SOURCES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(["lstm", "segmenter", "regression", "gpt", "dict_output", "streaming"], COMPARED),
    "adapters": ("families",),
    "born_machine": (),
}
NAMES = list(SOURCES)
RESULTS = Path(__file__).parent / "results"


def run(name: str) -> None:
    """One example; networks are left out of its records, for their length."""
    found = measured(name)
    found["digests"] = digests_of(f"examples/{name}.py", *SOURCES[name])
    for record in found["records"]:
        record |= {"networks": {}} if "networks" in record else {}
    write(RESULTS / f"{name}.json", found)


if __name__ == "__main__":
    torch.set_num_threads(1)
    RESULTS.mkdir(exist_ok=True)
    for name in sys.argv[1:] or NAMES:
        run(name)
