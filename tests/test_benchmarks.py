"""docs/benchmarks.md is rendered from measurements, and is as it was rendered."""

import importlib.util
import json
import re
import time
from math import prod
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    "python": "3.12.1",
    "processor": "Some CPU",
    "cores": 4,
    "threads": 1,
    "load": 0.3,
    "packages": {"torch": "2.9"},
}


def script(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / f"benchmarks/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def docs():
    return script("docs")


def measured(folder, name, **environment):
    table = f"| case | gain |\n|---|---|\n| of {name} | 1.2x |"
    text = json.dumps({"environment": ENVIRONMENT | environment, "table": table, "results": []})
    (folder / f"{name}.json").write_text(text)


def test_tables_and_conditions_are_shown(docs, tmp_path):
    measured(tmp_path, "layers-1")
    measured(tmp_path, "layers-2", threads=2)
    page = docs.render(tmp_path)
    assert page.index("| of layers-1 | 1.2x |") < page.index("| of layers-2 | 1.2x |")
    assert "Some CPU, 4 cores, 1 thread; Python 3.12.1; torch 2.9." in page and "2 threads" in page
    assert "busy" not in page


def test_what_was_not_run_says_so(docs, tmp_path):
    assert docs.render(tmp_path).count("Not run.") == len(docs.SECTIONS)
    measured(tmp_path, "overhead")
    assert docs.render(tmp_path).count("Not run.") == len(docs.SECTIONS) - 1


def test_what_is_not_measured_again_stays(docs, tmp_path):
    measured(tmp_path, "layers-1")
    measured(tmp_path, "layers-cuda", device="Some GPU")
    measured(tmp_path, "memory")
    page = docs.render(tmp_path)
    for old in tmp_path.glob("*.json"):
        old.unlink()
    assert docs.render(tmp_path, page) == page
    measured(tmp_path, "layers-1", note="Anew.")
    again = docs.render(tmp_path, page)
    assert again.count("Anew.") == 1 and again.count("| of layers-1 ") == 1
    assert again.index("Anew.") < again.index("| of layers-cuda ") < again.index("| of memory ")
    edited = page.replace("1.2x", "9.9x")
    assert "9.9x" not in docs.render(tmp_path, edited)


def test_a_busy_machine_and_a_note_are_named(docs, tmp_path):
    measured(tmp_path, "order", load=5.2, note="Half a run.")
    assert "Half a run. **Measured" in docs.render(tmp_path)
    assert "busy machine** (load 5.2 on 4 cores)" in docs.render(tmp_path)


def test_an_edited_table_is_noticed(docs, tmp_path):
    measured(tmp_path, "overhead")
    page = docs.render(tmp_path)
    assert docs.intact(page)
    assert not docs.intact(page.replace("1.2x", "9.9x"))
    assert not docs.intact(page + "more\n")


def test_the_committed_page_is_as_it_was_rendered(docs):
    assert docs.intact(docs.TARGET.read_text()), "docs/benchmarks.md was edited: run `make bench` instead"


def test_every_script_has_a_section_and_is_run(docs):
    scripts = (ROOT / "Makefile").read_text().partition("SCRIPTS := ")[2].partition("\n")[0].split()
    assert set(scripts) == set(docs.SECTIONS)
    assert {p.stem for p in (ROOT / "benchmarks").glob("*.py")} <= {*scripts, "timing", "docs"}


@pytest.mark.parametrize("device", [False, True])
def test_calls_are_timed_in_turn_and_a_device_is_waited_for(device):
    seen, waits = [], []
    calls = {"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}
    wait = (lambda: waits.append(len(seen))) if device else None
    took = script("timing").medians(calls, seconds=0.0, least=3, wait=wait)
    assert set(took) == {"a", "b"} and min(took.values()) >= 0
    timed = "".join(seen)[4:]  # after the two runs of each that warm up
    assert [part[0] for part in timed.replace("ab", "a b").replace("ba", "b a").split()] == list("ababab")
    assert len(waits) == (2 * (2 + 2 * 3) if device else 0)


@pytest.mark.parametrize("settle", [False, True])
def test_a_timed_call_can_follow_one_of_its_own(settle):
    seen = []
    calls = {n: lambda n=n: (seen.append(n), time.sleep(1e-3)) for n in "ab"}
    script("timing").medians(calls, threads=2, seconds=0.0, least=3, settle=settle)
    assert "".join(seen) == "aabb" + (3 * "aabb" if settle else 3 * "ab")


def test_some_cases_alone_are_not_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    timing = script("timing")
    timing.report("part", ["case"], [["one"]], [], whole=False)
    assert not list(tmp_path.iterdir()) and "one" in capsys.readouterr().out
    timing.report("whole", ["case"], [["one"]], [])
    assert "one" in json.loads((tmp_path / "out/bench/whole.json").read_text())["table"]


def test_the_papers_summary_has_figures_of_the_tables_alone():
    text = (ROOT / "benchmarks/paper/summary.md").read_text()
    tables = (ROOT / "docs/paper.md").read_text().replace(text.strip(), "")
    figures = re.findall(r"\d+\.\d\d\b", text)
    assert len(figures) > 20 and [x for x in figures if x not in tables] == []


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "paper"))
    return lambda name: importlib.import_module(name)


@pytest.mark.slow
def test_the_papers_systems_are_shown_as_they_were_measured(paper):
    pytest.importorskip("scipy")
    page = paper("tables").page()
    assert page == (ROOT / "docs/paper.md").read_text()
    assert "+" in page and "no significant difference" in page


@pytest.mark.slow
def test_the_families_of_the_papers_studies_keep_their_budgets(paper):
    """Every family of a study has a network within its budgets, or past them only where it has no smaller one."""
    from tnkit_nn.budgets import shares
    from tnkit_nn.comparison.start import built

    setup = paper("setup")
    for title, study in paper("deep").STUDIES.items():
        layers = [study.task.layer] if isinstance(study.task.layer, str) else study.task.layer
        model = setup.model_of(study.task.model)
        weights = {n: tuple(model.get_parameter(f"{n}.weight").shape) for n in layers}
        rows = study.rows()
        assert len({f.label for f in rows}) == len(rows)
        for family in rows:
            least = {n: family.build(shape, 1).num_params for n, shape in weights.items()}
            for budget in study.budgets:
                parts = shares(budget, [prod(shape) for shape in weights.values()])
                for (name, net), part in zip(built(family, weights, budget).items(), parts, strict=True):
                    if family.label.endswith(", no fewer"):  # a rank more than the deep networks need
                        # a study that confirms one network has it in its last row
                        deep_rows = rows[-1:] if title == "lenet5-conv2-confirm" else [f for f in rows if f.depth]
                        deep = max(f.build(weights[name], part).num_params for f in deep_rows)
                        assert deep <= net.num_params <= 1.25 * deep, (family, name, budget)
                    else:
                        assert net.num_params <= max(1.05 * part + 1, 1.05 * least[name]), (family, name, budget)


@pytest.mark.slow
def test_every_comparison_has_a_table_whatever_its_model_and_data(paper):
    """A table of two rows and two seeds; the counts of whole models are those of the models."""
    from dataclasses import asdict

    deep, tables = paper("deep"), paper("tables")
    assert deep.STUDIES.keys() <= tables.STUDIES.keys()
    for name, study in deep.STUDIES.items():
        row = dict.fromkeys(deep.KEPT) | {
            "budget": study.budgets[0],
            "num_params": 100,
            "layer_params": 2400,
            "chosen_frozen": {"rate": 0.06},
        }
        records = [
            row | {"label": label, "depth": depth, "seed": seed, "test_frozen": value + seed / 100, "val_frozen": value}
            for label, depth, value in (("mpo", None, 0.5), ("circuit depth 2", 2, 0.6))
            for seed in (0, 1)
        ]
        found = {
            "task": json.loads(json.dumps(asdict(study.task))),
            "records": records,
            "rates": [0.06],
            "title": study.title,
        }
        page = tables.deep(found)
        assert (
            f"of {study.task.model} on {'CIFAR-10' if study.task.data == 'cifar10' else 'MNIST'} (2,400 weights)"
            in page
        ), name
        whole = (
            sum(p.numel() for p in study.task.task().build(0).parameters())
            if callable(study.task.task().model)
            else None
        )
        counted = tables.with_whole_counts(found)[0]["model_params"]
        assert counted > 100 and (whole is None or counted == whole - 2400 + 100), name


def test_results_say_of_themselves_what_their_study_says(paper):
    from dataclasses import asdict

    deep = paper("deep")
    for name, study in deep.STUDIES.items():
        path = ROOT / f"benchmarks/paper/{name}.json"
        if path.exists():
            found = json.loads(path.read_text())
            assert found.get("title", "") == study.title and found.get("note", "").startswith(study.note), name
            if "digests" in found:  # what was run is what the study says
                assert found["task"] == json.loads(json.dumps(asdict(study.task))), name


@pytest.mark.slow
def test_small_dense_models_are_the_largest_within_a_count(paper):
    small = paper("small")
    for model in small.NARROW:
        for total in (1000, 2500):
            made = small.count(small.narrowed(model, total)())
            assert made <= total or made == small.count(small.NARROW[model](1 / 1024))
            assert made > 0.6 * total or model == "fc2"  # a hidden unit of FC-2 costs 795 numbers
    assert small.count(small.narrowed("lenet5", 61706)()) == 61706


@pytest.mark.slow
def test_a_deep_or_shallow_study_is_one_command_that_goes_on(paper, tmp_path, monkeypatch, capsys):
    from tests.nn.test_data import write_mnist
    from tnkit_nn.families import families

    deep, tables = paper("deep"), paper("tables")
    write_mnist(tmp_path / "data", train=200, test=40)
    task = paper("setup").Setup("lenet5", "mnist", ("fc2", "fc3"), 2, 2, 2, 2, limit=100, rest="none")
    monkeypatch.setitem(
        deep.STUDIES, "tiny", deep.Comparison(task, (300,), lambda: families(["mpo", "circuit"], (2,)), small=True)
    )
    monkeypatch.setattr(deep, "HERE", tmp_path)
    run = ["deep.py", "tiny", "--data-dir", str(tmp_path / "data"), "--workers", "1", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", run)
    deep.main()
    found = json.loads((tmp_path / "tiny.json").read_text())
    page = tables.deep(found)
    assert "small dense" in page and "hashed" in page and "`fc2`, `fc3` of lenet5" in page
    deep.main()  # nothing is left to do
    assert json.loads((tmp_path / "tiny.json").read_text()) == found
    lost = [p for p in (tmp_path / "out/tiny/jobs").glob("*.json") if p.name.startswith(("hashed", "pooled"))]
    for path in lost:
        path.unlink()
    monkeypatch.setattr("sys.argv", [*run, "--so-far"])
    deep.main()
    part = json.loads((tmp_path / "tiny.json").read_text())
    assert part["note"] == " Stopped before its last rows: hashed at 300, pooled are missing." and len(lost) == 2
    assert part["records"] == [r for r in found["records"] if r["label"] not in ("hashed", "pooled")]


@pytest.mark.slow
@pytest.mark.parametrize("deep", [False, True])
def test_a_search_keeps_the_budget_and_goes_on(paper, tmp_path, deep, monkeypatch):
    from dataclasses import replace

    from tests.nn.test_data import write_mnist
    from tnkit_nn.comparison.dense import with_dense_models
    from tnkit_nn.comparison.experiment import opened

    search = paper("search")
    write_mnist(tmp_path / "data", train=200, test=40)
    task = replace(search.TASK, seeds=2, dense_steps=2, limit=100, data_dir=str(tmp_path / "data"))
    experiment = with_dense_models(opened(task.task(), task.protocol()))
    found = search.search(deep, 150, 4, experiment, tmp_path / "kept", steps=2)
    values = [value for value, _ in found]
    assert len({gene for _, gene in found}) == 4 and values == sorted(values, reverse=True)
    for value, gene in found:
        net = gene.build()
        assert 0.7 * 150 <= net.num_params <= 150 and net.multilinear != deep and 0 <= value <= 1
        assert prod(net.sizes[i] for i in net.output) == 120 * 400
    more = search.search(deep, 150, 6, experiment, tmp_path / "kept", steps=2)
    assert {gene for _, gene in more} >= {gene for _, gene in found}
    with pytest.raises(ValueError, match="no further network of 4 to 5 numbers is found; 0 were tried"):
        search.search(deep, 5, 1, experiment, tmp_path / "none", steps=2)
    monkeypatch.setattr(search, "score", None)
    assert search.search(deep, 150, 6, experiment, tmp_path / "kept", steps=2) == more  # nothing is scored again


def test_a_study_of_cells_is_one_command_that_goes_on(paper, tmp_path, monkeypatch, capsys):
    studies, ran = paper("studies"), []

    def work(cell, args, out):
        ran.append((cell["seed"], out.name))
        if cell["seed"] == 2 and len(ran) < 4:
            raise KeyboardInterrupt
        return {"accuracy": cell["seed"] / 10 + args.epochs}

    monkeypatch.setitem(studies.STUDIES, "tiny", studies.Cells([{"head": "a b", "seed": s} for s in range(3)], work))
    monkeypatch.setattr(studies, "HERE", tmp_path)
    run = ["studies.py", "tiny", "--data-dir", "", "--workers", "0", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", run)
    with pytest.raises(KeyboardInterrupt):
        studies.main()
    studies.main()
    assert ran == [(0, "a_b-0"), (1, "a_b-1"), (2, "a_b-2"), (2, "a_b-2")]
    found = json.loads((tmp_path / "tiny.json").read_text())
    assert found["cells"] == [{"head": "a b", "seed": s, "result": {"accuracy": s / 10 + 6}} for s in range(3)]
    monkeypatch.setattr("sys.argv", [*run, "--only", "-1"])  # a part stands beside its cells alone
    studies.main()
    assert [c["seed"] for c in json.loads((tmp_path / "out/tiny/tiny.json").read_text())["cells"]] == [1]
    assert json.loads((tmp_path / "tiny.json").read_text()) == found
    monkeypatch.setattr("sys.argv", [*run, "--epochs", "7"])  # no cell of another training is taken for one of this
    with pytest.raises(ValueError, match=r"its options\.epochs is 6, not 7"):
        studies.main()


@pytest.mark.slow
def test_the_convolutions_of_vgg16_and_their_small_dense_rival_keep_the_budget(paper):
    torch = pytest.importorskip("torch")
    from tnkit_nn import zoo
    from tnkit_nn.budgets import keeps
    from tnkit_nn.families import BASELINES

    convs = paper("convs")
    with torch.device("meta"):
        model = convs.headless(zoo.vgg16())
    weights = [m.weight for m in model.modules() if isinstance(m, torch.nn.Conv2d)][1:]
    for family in convs.NETWORKS:
        counts = [BASELINES[family](tuple(w.shape), convs.BUDGET).num_params for w in weights]
        assert all(map(keeps, counts, [convs.BUDGET] * 12)) and min(counts) > 0.9 * convs.BUDGET
    total = convs.BUDGET * 12 + convs.count(model) - sum(w.numel() for w in weights)
    small = convs.narrow(total)
    assert 0.85 * total < convs.count(small) <= total and small(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_a_heads_control_trains_what_it_says(paper):
    torch = pytest.importorskip("torch")
    from tnkit_nn import zoo
    from tnkit_nn.data.splits import Split
    from tnkit_nn.training.recipe import Recipe

    heads, draw = paper("heads"), torch.Generator().manual_seed(0)
    x, y = torch.randn(32, 20, generator=draw), torch.randint(3, (32,), generator=draw)
    split = Split("x", (x, y), (x, y), (x, y))
    for what, moved in (("hashed 424", {"fc1", "fc2"}), ("frozen random", set())):
        model, numbers = heads.controlled(zoo.MLP((20, 30, 30, 3)), {"head": what, "seed": 0}, ("fc1", "fc2"))
        assert numbers == (424 if moved else 0)
        before = {n: model.get_submodule(n).weight.detach().clone() for n in ("fc1", "fc2", "fc3")}
        trained = heads.learned(model, what, ("fc1", "fc2"))
        heads.tuned(model, trained, 1e-3, split, Recipe(epochs=2, lr=1e-2, batch=16), 0)
        after = {n: model.get_submodule(n).weight for n in before}
        assert {n for n in before if not torch.equal(before[n], after[n])} == moved | {"fc3"}


def test_the_hashed_control_of_a_whole_model(paper):
    torch = pytest.importorskip("torch")
    heads = paper("heads")
    layer = torch.nn.Linear(30, 20)
    made = heads.Hashed(layer.weight, 10, 3)
    torch.nn.utils.parametrize.register_parametrization(layer, "weight", made)
    assert len(layer.weight.abs().unique()) == 10 and [p.numel() for p in layer.parameters()] == [20, 10]
    layer(torch.ones(1, 30)).sum().backward()
    assert layer.parametrizations.weight.original.grad.abs().min() > 0
    other = heads.Hashed(layer.weight, 10, 4)  # another seed: another hash, another start
    assert not torch.equal(made(made.start), other(made.start)) and not torch.equal(made.start, other.start)
