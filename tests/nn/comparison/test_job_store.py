"""Jobs: each done once, kept, and done again where a worker is lost."""

import json
import os
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import safetensors.torch
import torch
from clusters import TWO_WORKERS

from tnkit_nn.comparison import dense
from tnkit_nn.comparison.compare import compare
from tnkit_nn.comparison.job_store import Study, run_jobs
from tnkit_nn.comparison.row import row
from tnkit_nn.task import Task

from .made import timeless

TINY = Task("mlp", "digits")
STEPS = dict(seeds=2, dense_steps=3, fit_steps=2, tune_steps=2)
SMALL = dict(shapes=("cp",), budgets=(100,), **STEPS)


def note(log, key, seconds=0.0):
    """A job that says when it begins and ends."""
    with open(log, "a") as file:
        print("begun", key, os.getpid(), file=file, flush=True)
        time.sleep(seconds)
        print("done", key, os.getpid(), file=file, flush=True)
    return {"key": key}


def once_killed(log, key, seconds=0.0):
    """As note; the first process that comes to job 2 is killed in it."""
    mark = Path(log).with_suffix(".killed")
    if key == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return note(log, key, seconds)


def counted(log, word):
    return Counter(line.split()[1] for line in Path(log).read_text().splitlines() if line.startswith(word))


def jobs(log, count, seconds=0.0):
    return {f"job {k}": (str(log), k, seconds) for k in range(count)}


@pytest.mark.parametrize("letter", ["a", "ü", ":", "B/"])
def test_a_job_may_have_any_name(tmp_path, letter):
    """A file's name has 255 letters at most, and its ending is one of them."""
    study = Study(tmp_path, {"of": "names"})
    for key in (f"{letter * 300} at 10", f"{letter * 300} at 20", "con", "nul.", "a", "A"):
        assert not study.has(key)
        study.put(key, {"key": key})
        study.put(key + "bytes", key.encode())
        assert study.get(key) == {"key": key} and study.get(key + "bytes") == key.encode()
    names = [path.name.lower() for path in (tmp_path / "jobs").iterdir()]
    assert len(set(names)) == 12 and max(map(len, names)) <= 255


@pytest.mark.parametrize("threads", [0, 2])
def test_finished_jobs_are_kept_and_not_run_again(tmp_path, threads):
    log, study = tmp_path / "log", Study(tmp_path / "out", {"seed": 1})
    executor = ThreadPoolExecutor(threads) if threads else None
    first = run_jobs(jobs(log, 2), note, study=study, executor=executor)
    again = run_jobs(jobs(log, 4), note, study=Study(tmp_path / "out", {"seed": 1}), executor=executor)
    assert list(again) == [f"job {k}" for k in range(4)] and first.items() <= again.items()
    assert counted(log, "done") == {str(k): 1 for k in range(4)}
    assert len(list((tmp_path / "out" / "jobs").glob("*.json"))) == 4


@pytest.mark.parametrize("threads", [0, 2])
def test_a_result_in_bytes_is_kept_as_it_is(tmp_path, threads):
    study, given = Study(tmp_path, {}), {f"job {k}": (k,) for k in range(3)}
    executor = ThreadPoolExecutor(threads) if threads else None
    made = run_jobs(given, lambda k: bytes([255, 0, k]), study=study, executor=executor)
    assert made == {f"job {k}": bytes([255, 0, k]) for k in range(3)}
    assert study.get("job 1") == made["job 1"]
    assert study.has("job 1") and not study.has("job 3")
    assert run_jobs(given, pytest.fail, study=study, executor=executor) == made


def test_an_interrupted_run_keeps_what_had_finished(tmp_path):
    study = Study(tmp_path, {})

    def fails_at_2(log, key, seconds):
        if key == 2:
            raise KeyboardInterrupt
        return note(log, key)

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs(tmp_path / "log", 4), fails_at_2, study=study)
    run_jobs(jobs(tmp_path / "log", 4), note, study=study)
    assert counted(tmp_path / "log", "done") == {str(k): 1 for k in range(4)}


def test_a_setting_that_came_later_makes_no_other_study(tmp_path):
    Study(tmp_path, {"task": {"seeds": 1}}).put("a", [1])
    assert Study(tmp_path, {"task": {"seeds": 1, "first": None}}).get("a") == [1]
    with pytest.raises(ValueError, match=r"it has no task.first, here it is 2"):
        Study(tmp_path, {"task": {"seeds": 1, "first": 2}})


def test_other_settings_and_damaged_files_are_refused_by_name(tmp_path):
    study = Study(tmp_path, {"task": {"seeds": 1, "data": "digits"}})
    with pytest.raises(ValueError, match=r"holds another study: its task.seeds is 1, not 2; choose another folder"):
        Study(tmp_path, {"task": {"seeds": 2, "data": "digits"}})
    study.put("a", [1])
    study.path("a").write_text("{")
    with pytest.raises(ValueError, match="damaged, no JSON; delete it"):
        study.get("a")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot be made a study's folder"):
        Study(tmp_path / "file", {})


def test_one_run_at_a_time(tmp_path):
    busy = pytest.raises(ValueError, match="is being run by another process")
    with Study(tmp_path, {}).alone(), busy, Study(tmp_path, {}).alone():
        pass
    with Study(tmp_path, {}).alone():  # free again
        pass


def test_an_error_in_a_job_is_raised_and_the_rest_cancelled(tmp_path):
    def fails(log, key, seconds):
        time.sleep(seconds)
        raise MemoryError(f"job {key}")

    with ThreadPoolExecutor(1) as pool, pytest.raises(MemoryError, match="job 0"):
        run_jobs(jobs(tmp_path / "log", 50, 0.05), fails, executor=pool)


@pytest.mark.slow
def test_a_pool_that_breaks(tmp_path):
    log, study = tmp_path / "log", Study(tmp_path / "out", {})
    with ProcessPoolExecutor(2, get_context("spawn")) as pool, pytest.warns(RuntimeWarning, match="a worker was lost"):
        made = run_jobs(jobs(log, 8), once_killed, study=study, executor=pool)
    assert made == {f"job {k}": {"key": k} for k in range(8)}
    done, begun = counted(log, "done"), counted(log, "begun")
    assert set(done) == {str(k) for k in range(8)} and done["2"] == 1
    # what finished before the pool broke is not done again: only the other worker's own job can have been cut off or repeated
    assert sum(begun.values()) <= 8 + 2
    assert all(study.get(key) for key in made)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:a worker was lost")  # dask may lose a result that was made
def test_dask_with_one_of_two_workers_killed(tmp_path):
    distributed = pytest.importorskip("distributed")
    log, study = tmp_path / "log", Study(tmp_path / "out", {})
    with distributed.LocalCluster(**TWO_WORKERS) as cluster, distributed.Client(cluster) as client:
        made = run_jobs(jobs(log, 12, 0.1), once_killed, study=study, executor=client.get_executor(pure=False))
    assert made == {f"job {k}": {"key": k} for k in range(12)}
    assert (tmp_path / "log.killed").exists() and counted(log, "done") == {str(k): 1 for k in range(12)}
    assert len(list((tmp_path / "out" / "jobs").glob("*.json"))) == 12


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:a worker was lost")  # dask may lose a result that was made
def test_a_comparison_on_dask_is_the_comparison_here(tmp_path, one_thread):
    distributed = pytest.importorskip("distributed")
    here = compare(TINY, **SMALL)
    with distributed.LocalCluster(**TWO_WORKERS) as cluster, distributed.Client(cluster) as client:
        client.run(torch.set_num_threads, 1)
        pids = list(client.run(os.getpid).values())
        pool, begun = client.get_executor(pure=False), []

        class Watched:
            """The client's executor; one of its workers is killed once a few jobs are with it."""

            def submit(self, *task):
                begun.append(pool.submit(*task))
                if len(begun) == 4:
                    begun[0].result()
                    os.kill(pids[0], signal.SIGKILL)
                return begun[-1]

        there = compare(TINY, **SMALL, executor=Watched(), out=tmp_path)
        assert pids[0] not in client.run(os.getpid).values()
    strip = lambda records: [{k: v for k, v in timeless(r).items() if k != "scores"} for r in records]  # noqa: E731
    close = [
        {k: pytest.approx(v, rel=1e-4, abs=1e-6) if isinstance(v, float) else v for k, v in r.items()}
        for r in strip(here)
    ]
    assert strip(there) == close
    assert len(list((tmp_path / "jobs").glob("*.json"))) == len(here) // STEPS["seeds"]


@pytest.mark.slow
def test_a_comparison_goes_on_where_it_was(tmp_path, monkeypatch):
    whole = compare(TINY, **SMALL, out=tmp_path)
    gone = sorted((tmp_path / "jobs").glob("*.json"))[::3]
    for path in gone:
        path.unlink()
    calls = []
    work, module = row, sys.modules["tnkit_nn.comparison.compare"]
    monkeypatch.setattr(dense, "dense_models", lambda *_: 1 / 0)  # the dense models are there
    monkeypatch.setattr(module, "row", lambda *job: calls.append(job) or work(*job))
    again = compare(TINY, **SMALL, out=tmp_path)
    strip = lambda records: [timeless(r) for r in records]  # noqa: E731
    assert strip(again) == strip(json.loads(json.dumps(whole))) and len(calls) == len(gone)
    more = compare(TINY, **{**SMALL, "shapes": ("cp", "mpo")}, out=tmp_path)
    assert len(calls) == len(gone) + 1 and len(more) == len(whole) + STEPS["seeds"]
    with pytest.raises(ValueError, match="tune_steps is 2, not 3"):
        compare(TINY, **{**SMALL, "tune_steps": 3}, out=tmp_path)


# -- damaged files ------------------------------------------------------------------------------------------------------
TEXTS = {"null": "null", "[]": "[]", "{}": "{}", "7": "7", "text": '"x"', "nothing": "", "deep": "[" * 100_000}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A comparison's folder, the files of two rows and those of the dense models."""
    folder = tmp_path_factory.mktemp("study")
    compare(TINY, **SMALL, out=folder)
    return folder, sorted((folder / "jobs").glob("*.json")), sorted((folder / "jobs").glob("*.bin"))


def refused(study, path, content):
    """What is said of a file with this content, which is put back."""
    kept = path.read_bytes()
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        with pytest.raises(ValueError) as error:
            compare(TINY, **SMALL, out=study[0])
    finally:
        path.write_bytes(kept)
    said = str(error.value)
    assert said.startswith(f"{path}: damaged, ") and said.endswith("; delete it to have it made again")
    return said


@pytest.mark.slow
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_file_that_is_no_record(study, text):
    for path in (study[1][0], study[0] / "study.json"):
        refused(study, path, text)


@pytest.mark.slow
def test_a_file_of_another_job(study):
    _, rows, dense = study
    other = json.loads(rows[1].read_text())["job"]
    assert f"it is of {other!r}, not of " in refused(study, rows[0], rows[1].read_text())
    assert "it is of 'dense model of seed 1', not of 'dense model of seed 0'" in refused(
        study, dense[0], dense[1].read_bytes()
    )


@pytest.mark.parametrize("seal", [True, False])
def test_a_result_that_is_none_of_the_job(study, seal):
    """Without a seal, as of an older version, it is the content that tells."""
    path = study[1][0]
    kept = json.loads(path.read_text())
    result = kept["result"]
    cases = {
        "its result is []": [],
        "it has no result": None,
        "its result is {}": {},
        "its result is [1]": [1],
        "its record of seed 0 is 1": [1, 2],
        "its record of seed 0 has no 'family'": [{k[::-1]: v for k, v in r.items()} for r in result],
        "seed 1": result[::-1],
        "test_frozen in its record of seed 0 is 'x'": [{**r, "test_frozen": "x"} for r in result],
        "seed in its record of seed 0 is False": [{**r, "seed": bool(r["seed"])} for r in result],
        "is of noise at 7": [{**r, "label": "noise", "budget": 7} for r in result],
    }
    for words, other in cases.items():
        changed = {**kept, "result": other}
        if not seal:
            del changed["seal"]
        said = refused(study, path, json.dumps(changed))
        assert ("its content is not what was written" if seal else words) in said


def test_bytes_that_are_no_dense_model(study):
    path = study[2][0]
    kept = path.read_bytes()
    plain = kept.partition(b"\n")[2]
    flipped = bytearray(kept)
    flipped[-9] ^= 1
    cases = {
        "its content is not what was written": (bytes(flipped), kept[: len(kept) // 2]),
        "no safetensors": (b"", bytes(1000), plain[:-9]),
        "is missing": (safetensors.torch.save({}), safetensors.torch.save({"a": torch.zeros(3)})),
    }
    for words, contents in cases.items():
        for content in contents:
            assert words in refused(study, path, content)


def test_files_of_an_older_version_are_taken(study):
    folder, rows, dense = study
    calls = []
    for path in (*rows, folder / "study.json"):
        kept = json.loads(path.read_text())
        kept.pop("seal")
        path.write_text(json.dumps(kept))
    for path in dense:
        path.write_bytes(path.read_bytes().partition(b"\n")[2])
    times = {p: p.stat().st_mtime_ns for p in (*rows, *dense)}
    assert compare(TINY, **SMALL, out=folder, progress=lambda jobs, total: calls.append(total) or jobs)
    assert not calls and all(p.stat().st_mtime_ns == at for p, at in times.items())
