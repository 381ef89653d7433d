"""A training step of one adapted linear layer beside peft's LoRA: time and peak memory at equal numbers of trained parameters.

An N x N layer whose weight is frozen, of rank 8 where it is LoRA; each network is the family's within 5 % of as many parameters.
A step is forward and backward, to the trained arrays and to the input, as for a layer inside a model.  Memory is what torch
allocates in a step beyond what is there before it, at most.  ``python benchmarks/adapters.py [--threads 2] [--quick]``.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from timing import medians, report
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import tnkit as tk
import tnkit_nn as tknn
from tnkit.planning.calibration import spelled_seconds
from tnkit_nn.families import BASELINES

RANK = 8
CORES = {1024: (32, 32), 4096: (64, 64)}

#: name -> network of an N x N weight, with as many parameters as the LoRA of rank 8
FAMILIES: dict[str, Callable[[int], tk.Network]] = {
    "low rank": lambda n: tk.low_rank((n, n), RANK),
    "TT-matrix, two cores": lambda n: tk.mpo(CORES[n], CORES[n], RANK),
    "TT-matrix, three cores": lambda n: BASELINES["mpo"]((n, n), 2 * n * RANK),
    "CP": lambda n: BASELINES["cp"]((n, n), 2 * n * RANK),
    "TT": lambda n: BASELINES["tt"]((n, n), 2 * n * RANK),
    "ADTN, ReLU, depth 3": lambda n: BASELINES["adtn"]((n, n), 2 * n * RANK),
}


def lora(n: int) -> nn.Module:
    """The peer, as it is shipped."""
    model = nn.Sequential(nn.Linear(n, n))
    get_peft_model(model, LoraConfig(r=RANK, lora_alpha=RANK, target_modules=["0"], init_lora_weights=False))
    return model[0]


def ours(name: str, n: int) -> nn.Module:
    """The same layer with a network; its arrays are not zero, so that outputs can be compared."""
    layer = nn.Linear(n, n)
    net = FAMILIES[name](n)
    return tknn.parametrize_(layer, "weight", net, tk.init.normal(net, seed=0, std=0.01, dtype="float32"), base=True)


def dense(name: str, layer: nn.Module) -> Tensor:
    """The sum of the old weight and the update."""
    if name == "peft":
        return layer.base_layer.weight + layer.get_delta_weight("default")
    return layer.parametrizations.weight()


def check(name: str, layer: nn.Module, x: Tensor) -> None:
    """The output is that of the dense sum."""
    with torch.no_grad():
        bias = layer.base_layer.bias if name == "peft" else layer.bias
        want = nn.functional.linear(x, dense(name, layer), bias)
        error = float((layer(x) - want).norm() / want.norm())
    assert error < 1e-5, f"{name} is wrong: {error}"


def step(layer: nn.Module, x: Tensor, seed: Tensor) -> Callable[[], None]:
    trained = [p for p in layer.parameters() if p.requires_grad]
    assert not any(p.shape == (len(x.T), len(x.T)) for p in trained), "the old weight is trained"

    def call() -> None:
        for p in trained:
            p.grad = None
        x.grad = None
        layer(x).backward(seed)

    return call


def peak(call: Callable[[], None], *freed: Tensor) -> int:
    """Bytes that a call allocates at most, beyond what is there before it: without the gradients of the call before."""
    call()
    for tensor in freed:
        tensor.grad = None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        call()
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def way_of(layer: nn.Module, batch: int) -> str:
    """Whether the update is built for so many rows."""
    routes = layer.parametrizations.weight.added.routes
    return "built" if next(route for below, route in routes if batch < below) is None else "contracted"


def measured(n: int, batch: int, clock: dict[str, Any]) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """Rows of the table, and the records behind them."""
    torch.manual_seed(0)
    x, seed = torch.randn(batch, n, requires_grad=True), torch.randn(batch, n)
    layers = {"peft": lora(n), **{name: ours(name, n) for name in FAMILIES}}
    for name, layer in layers.items():
        check(name, layer, x)
    steps = {name: step(layer, x, seed) for name, layer in layers.items()}
    peaks = {name: peak(call, x, *layers[name].parameters()) for name, call in steps.items()}
    took = medians(steps, **clock)
    rows, records = [], []
    for name, layer in layers.items():
        count = sum(p.numel() for p in layer.parameters() if p.requires_grad and p is not getattr(layer, "bias", None))
        how = "contracted" if name == "peft" else way_of(layer, batch)
        slower, larger = took[name] / took["peft"], peaks[name] / peaks["peft"]
        rows.append(
            [
                f"{n}, batch {batch}" if name == "peft" else "", "LoRA of peft" if name == "peft" else name, f"{count:,}", how,
                spelled_seconds(took[name]), f"{slower:.2f}", f"{peaks[name] / 2**20:.1f}", f"{larger:.2f}",
            ]
        )  # fmt: skip
        records.append(
            {
                "n": n, "batch": batch, "family": name, "parameters": count, "update": how, "seconds": took[name],
                "peak_bytes": peaks[name], "slower": slower, "larger": larger,
            }
        )  # fmt: skip
    return rows, records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="", help="part of a case's name")
    parser.add_argument("--quick", action="store_true", help="shorter: half a second a way")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore")
    clock: dict[str, Any] = {"threads": args.threads, "seconds": 0.5 if args.quick else args.seconds}
    rows, records = [], []
    for n, batch in product((1024, 4096), (16, 256, 2048)):
        if args.only in f"{n}, batch {batch}":
            found, made = measured(n, batch, clock | {"least": 3 if n * batch > 2**22 else 5})
            rows += found
            records += made
            print(*found, sep="\n", flush=True)
    if not records:
        parser.error(f"argument --only: no case has {args.only!r} in its name")
    headers = ["N", "update", "parameters", "update is", "step", "times LoRA's", "peak MiB", "times LoRA's"]
    report(f"adapters-{args.threads}", headers, rows, records, args.threads, whole=not args.only)


if __name__ == "__main__":
    main()
