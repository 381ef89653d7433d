"""Files in the folder of a compression: damaged ones, and those of something else, are refused by name."""

import json
import shutil
from dataclasses import replace

import pytest

import tnkit as tk
from tnkit_nn.adapter.fitting import FitResult
from tnkit_nn.compression.compress import compress_
from tnkit_nn.compression.workdir import Folder

from .test_compress import RECIPE, plain, small

SHORT = replace(RECIPE, stage2=replace(RECIPE.stage2, epochs=2))

RECORDS = ["before", "run", "spent", "stage1", "stage1-fc1", "step-0-fitted", "step-0-tuned", "step-0-val"]
TEXTS = {"null": "null", "[]": "[]", "{}": "{}", "7": "7", "text": '"x"', "nothing": "", "deep": "[" * 100_000}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished compression: model, data, folder, its report."""
    model, split = small()
    folder = tmp_path_factory.mktemp("done")
    report = plain(compress_(model, SHORT, split, out=folder))
    return folder, split, report


def refused(done, tmp_path, change, name):
    folder, split, _ = done
    out = tmp_path / "out"
    shutil.copytree(folder, out)
    change(out / name)
    with pytest.raises(ValueError) as error:
        compress_(small()[0], SHORT, split, out=out)
    said = str(error.value)
    assert said.startswith(f"{out / name}: damaged, ") and "\n" not in said and ("delete" in said or "give an" in said)
    return said


def test_the_time_of_every_record_is_kept(tmp_path, monkeypatch):
    """What a run that is killed after it has taken is known to the next one."""
    now = [0.0]
    monkeypatch.setattr("tnkit_nn.compression.workdir.time.perf_counter", lambda: now[0])
    given = (tmp_path, {"model": {}, "task": None, "tune": None}, RECIPE)
    folder = Folder(*given, now[0])

    def make():
        now[0] += 10.0
        return {"found": 1}

    for name in ("one", "two", "one"):  # the last was found before
        folder.once(name, {"found": int}, make)
    assert Folder(*given, now[0]).before == 20.0


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDS)
def test_records(done, tmp_path, name):
    file = f"{name}.json"
    for k, text in enumerate(TEXTS.values()):
        refused(done, tmp_path / str(k), lambda path, text=text: path.write_text(text), file)
    other = done[0] / ("step-1-val.json" if name != "run" else "before.json")
    assert "it is of '" in refused(done, tmp_path / "other", lambda path: shutil.copy(other, path), file)

    def changed(path):
        kept = json.loads(path.read_text())
        first = next(iter(kept))
        path.write_text(json.dumps({(k[::-1] if k == first else k): v for k, v in kept.items()}))

    assert "its content is not what was written" in refused(done, tmp_path / "keys", changed, file)


@pytest.mark.slow
def test_records_of_an_older_version_have_no_seal(done, tmp_path):
    folder, split, report = done
    shutil.copytree(folder, tmp_path / "old")
    for path in (tmp_path / "old").glob("*.json"):
        kept = json.loads(path.read_text())
        kept.pop("seal", None)
        kept.pop("arrays", None)
        path.write_text(json.dumps(kept))
    assert plain(compress_(small()[0], SHORT, split, out=tmp_path / "old")) == report


@pytest.mark.slow
def test_arrays(done, tmp_path):
    net, arrays = tk.load(done[0] / "stage1-fc1.tn")
    others = {name: 2 * x for name, x in arrays.items()}
    less = dict(list(arrays.items())[1:])
    cases = {
        "it holds another network": lambda path: shutil.copy(done[0] / "stage1-fc2.tn", path),
        "its arrays are not those that were found": lambda path: tk.save(path, net, others),
        "it has no array": lambda path: tk.save(path, net, less),
        "is not a whole file": lambda path: path.write_bytes(path.read_bytes()[:-40]),
        "it is not there": lambda path: path.unlink(),
    }
    for k, (message, change) in enumerate(cases.items()):
        assert message in refused(done, tmp_path / str(k), change, "stage1-fc1.tn")


def test_a_checkpoint_of_another_step(done, tmp_path):
    folder, split, _ = done
    shutil.copytree(folder, tmp_path / "out")
    content = bytearray((folder / "step-0.safetensors").read_bytes())
    content[-9] ^= 1
    (tmp_path / "out" / "step-0.safetensors").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"step-0.safetensors: damaged, its content is not what was written; delete it"
    ):
        compress_(small()[0], SHORT, split, out=tmp_path / "out")


@pytest.mark.slow
def test_what_is_deleted_is_made_again(done, tmp_path):
    folder, split, report = done
    for k, names in enumerate((RECORDS[2:], ["stage1-fc1.json", "stage1-fc1.tn"], ["step-0.safetensors"])):
        out = tmp_path / str(k)
        shutil.copytree(folder, out)
        for name in names:
            (out / (name if "." in name else f"{name}.json")).unlink()
        assert plain(compress_(small()[0], SHORT, split, out=out)) == report


def test_layers_of_long_names_have_files_of_their_own(tmp_path):
    """A file system takes 255 letters, and a letter beside ASCII is six of them in the name of a file."""
    folder, net = (
        Folder(tmp_path, {"model": {}, "task": None, "tune": None}, replace(RECIPE, stage2=None), 0.0),
        tk.tt((2, 2), 1),
    )
    layers = ["fc1", "a/b", "a-b", *("é" * 45 + end for end in "xy"), *("n" * 240 + end for end in "xy")]
    for k, layer in enumerate(layers):
        folder.arrays(layer, net, lambda k=k: FitResult(tk.init.normal(net, seed=k), (), float(k), 1.0, "svd"))
    for k, layer in enumerate(layers):
        found, _ = folder.arrays(layer, net, lambda: None)
        assert found.error == k and tk.norm(net, found.arrays) == tk.norm(net, tk.init.normal(net, seed=k))
    assert (tmp_path / "stage1-fc1.json").exists() and max(len(p.name) for p in tmp_path.iterdir()) < 230
