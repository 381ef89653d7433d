"""Records as a comparison has them, without one: of any metric."""

import re

from tnkit_nn.families import CONTROLS

ACCURACY = {"name": "accuracy", "unit": "%", "larger": True}
PERPLEXITY = {"name": "perplexity", "unit": "", "larger": False}
R2 = {"name": "R2", "unit": "", "larger": True}
RMSE = {"name": "RMSE", "unit": "kWh", "larger": False}


#: What differs from one run to the next: times.
TIMED = ("seconds", "ms", "dense_ms", "step_ms", "dense_step_ms")


def timeless(record):
    """A record without the times that it took."""
    found = {k: v for k, v in record.items() if k not in TIMED}
    return found | {"forward": {k: v for k, v in record["forward"].items() if k not in TIMED}}


def forward(budget):
    """What a forward of a row costs."""
    flops = 2 * (budget or 4096)
    dense = {"dense_flops": 8192, "dense_ms": 0.04, "dense_step_ms": 0.2}
    return {
        "way": "factorised",
        "batch": 128,
        "flops": flops,
        "flops_if_built": 9000,
        "ms": 0.1,
        "step_ms": 0.3,
        **dense,
    }


def record(label, budget, seed, score, **more):
    """A record whose figures are all ``score``."""
    base = dict(
        family=label.split()[0], label=label, depth=None, budget=budget, at_least=None, kind="control" if label in CONTROLS else "network",
        activation=None, description=CONTROLS.get(label, ""), num_params=budget or 0, full_params=budget or 0,
        model_params=714 + (budget or 0), model_dense=4810, trained_elsewhere=10, seed=seed, error=0.9, baseline=0.95, test_fit=score,
        test_frozen=score, test_trained=score, val_frozen=score, val_trained=score, frozen_from={}, trained_from={}, chosen_frozen={},
        chosen_trained={}, curves={}, scores=None, flops=1000, forward=forward(budget), seconds=1.0, approximation={}, networks={}, layer="fc1",
        layer_params=4096, test_examples=500, metric=ACCURACY, examples="images", title="mlp on digits", model="mlp", data="digits",
        rest="all", dense_steps=4, fit_steps=2, tune_steps=2, rates="equal", replicas="", machine={}, command=None, left_out={}, versions={"tnkit": "x"},
    )  # fmt: skip
    if label.startswith("adtn"):
        base["depth"] = int(label.split()[-1])
    return base | more


def runs(*, metric=ACCURACY, examples="images", count=500, **scores):
    """Records of several rows; budget 100 unless the name is that of a control without one."""
    free = ("picked", "pooled", "removed", "frozen_random", "dense")
    return [
        record(
            name.replace("adtn3", "adtn depth 3"),
            None if name in free else 100,
            s,
            score,
            metric=metric,
            examples=examples,
            test_examples=count,
        )
        for name, values in scores.items()
        for s, score in enumerate(values)
    ]


def of_sentences(**scores):
    """Records of a language model: a perplexity, of sentences, their number unknown."""
    made = runs(metric=PERPLEXITY, examples="sentences", count=None, **scores)
    return [r | {"title": "a language model on a corpus", "model": "LSTM", "data": "corpus"} for r in made]


def counted(records, **counts):
    """The same records, rows of other counts."""
    counts = {re.sub(r"^adtn(\d)", r"adtn depth \1", name): n for name, n in counts.items()}
    return [r | {"num_params": counts.get(r["label"], r["num_params"])} for r in records]
