"""Networks as adapters, for minilm.py: added to frozen weights of the last two layers, to tell from which package a sentence is."""

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from minilm_model import Batches, Embedder, batches, network, original, pooled
from minilm_text import sentences
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.data import DataLoader

import tnkit_nn as tknn

__all__ = ["adaptations", "trainings"]

LAST = 2  # layers that have adapters
COUNT = 768  # parameters of one: those of rank 1


class Classifier(nn.Module):
    """The last layers of the model and a linear head; what goes in is what the layers before give, which are frozen."""

    def __init__(self, layers: nn.ModuleList, classes: int) -> None:
        super().__init__()
        self.layers, self.head = layers.requires_grad_(False), nn.Linear(384, classes)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(count, time, width) to logits."""
        for layer in self.layers:
            hidden = layer(hidden, mask[:, None, None].bool())
        return self.head(hidden.shape[-1] ** 0.5 * pooled(hidden, mask))


def adapt_(model: Classifier, kind: str, seed: int) -> int:
    """What is trained beside the head, and how many parameters it has: networks added to query and value, nothing, or all layers."""
    model.layers.requires_grad_(kind == "fine_tuned")
    if kind not in ("linear_probe", "fine_tuned"):
        for layer in model.layers:
            for matrix in (layer.attention.self.query, layer.attention.self.value):
                tknn.parametrize_(matrix, "weight", network(kind, (384, 384), COUNT), base=True, seed=seed)
    return sum(p.numel() for p in model.layers.parameters() if p.requires_grad)


def below(model: Embedder, some: Batches) -> Batches:
    """What goes into the last layers, in the place of tokens."""
    short = copy.deepcopy(model)
    short.bert.encoder.layer = short.bert.encoder.layer[:-LAST]
    with torch.no_grad():
        return [(short.bert(input_ids=ids, attention_mask=mask).last_hidden_state, mask, y) for ids, mask, y in some]


def loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """The cross entropy of the package."""
    return F.cross_entropy(model(batch[0], batch[1]), batch[2])


def right(model: nn.Module, loader: Iterable[tuple[Tensor, ...]]) -> float:
    """The share of the sentences whose package is right."""
    with parametrize.cached():
        return float(torch.cat([model(x, mask).argmax(-1) == y for x, mask, y in loader]).float().mean())


def adapted(
    kind: str, teacher: Embedder, data: Mapping[str, Batches], size: Mapping[str, Any], seed: int, rate: float
) -> dict:
    """One training: the head and the networks at this rate, whole layers at a tenth of it."""
    torch.manual_seed(seed)
    begin, model = (
        time.process_time(),
        Classifier(copy.deepcopy(teacher.bert.encoder.layer[-LAST:]), len(size["packages"])),
    )
    count = adapt_(model, kind, seed)
    loader: Any = DataLoader(data["train"], batch_size=None, shuffle=True)
    task = tknn.Task(data={"train": loader, "val": data["val"]}, loss=loss, metric=tknn.Metric(right, unit="%"))
    groups = [tknn.Group(model.head.named_parameters(prefix="head"))]
    if count:
        params = {f"layers.{name}": p for name, p in model.layers.named_parameters() if p.requires_grad}
        groups.append(tknn.Group(params, lr=rate / 10 if kind == "fine_tuned" else rate))
    history = tknn.train(model, task, tknn.Recipe(epochs=size["epochs"], lr=rate), seed=seed, groups=groups)
    with torch.no_grad():
        test = right(model.eval(), data["test"])
    return {"parameters": count, "val": history[-1].val_metric, "test": test, "seconds": time.process_time() - begin}


def trainings(size: Mapping[str, Any]) -> int:
    """How many trainings there are in all."""
    return len(size["kinds"]) * (len(size["rates"]) + size["seeds"] - 1)


def adaptations(size: Mapping[str, Any], done: list[dict], save: Callable[[], None]) -> None:
    """All trainings that are not done yet: the first seed at every rate, the others at the one that was best on the validation part."""
    texts, teacher = sentences(size["sentences"], size["packages"]), original(size["layers"])
    labels = {package: k for k, package in enumerate(size["packages"])}
    data = {
        part: below(teacher, batches({s: labels[p] for s, p in some.items()}, size["batch"]))
        for part, some in texts.items()
    }
    for seed in range(size["seeds"]):
        for kind in size["kinds"]:
            first = [row for row in done if row["kind"] == kind and row["seed"] == 0]
            for rate in [max(first, key=lambda row: row["val"])["rate"]] if seed else size["rates"]:
                key = {"kind": kind, "seed": seed, "rate": rate}
                if not any(row.items() >= key.items() for row in done):
                    done.append(key | adapted(kind, teacher, data, size, seed, rate))
                    print(done[-1], flush=True)
                    save()
