"""Things named by a text: found in files and in modules, or refused by what is there."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tnkit_nn.imported import imported

TEXT = "value = 3\n_hidden = 4\nclass Thing:\n    pass\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(TEXT)
    return path


def test_files_and_modules(file, monkeypatch):
    assert imported(f"{file}:value", "it") == 3
    assert imported("mine.py:value", "it", file.parent) == 3  # relative to a folder
    monkeypatch.chdir(file.parent)
    assert imported("mine.py:value", "it") == 3 and imported("./mine.py:_hidden", "it") == 4
    assert (
        imported("math:pi", "it") == sys.modules["math"].pi
        and imported("os.path:join", "it") is sys.modules["os"].path.join
    )
    thing = imported(f"{file}:Thing", "it")
    assert imported("mine.py:Thing", "it") is thing  # run once
    assert sys.modules[thing.__module__].Thing is thing  # so that it can be pickled


def test_threads_wait_until_a_file_has_run(tmp_path):
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.2)\nvalue = object()\n")
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda _: imported(f"{tmp_path}/slow.py:value", "it"), range(4))]
    assert len({*map(id, found)}) == 1


def test_two_files_of_one_name(tmp_path):
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"value = {value}")
    assert [imported(f"{tmp_path / f}/mine.py:value", "it") for f in "ab"] == [1, 2]


@pytest.mark.parametrize(
    ("place", "kind", "said"),
    [
        ("value", ValueError, '--task is "file.py:name" or "module:name", not \'value\''),
        ("mine.py", ValueError, '--task is "file.py:name" or "module:name"'),
        (":value", ValueError, '"file.py:name"'),
        ("mine.py:", ValueError, '"file.py:name"'),
        ("mine.py:a b", ValueError, '"file.py:name"'),
        (3, TypeError, "--task is a non-empty string, not 3"),
        ("", TypeError, "--task is a non-empty string, not ''"),
        ("~no-such-user.py:value", FileNotFoundError, "--task: no such file .*~no-such-user.py"),  # the home of a user there is not
        ("~no-such-user/other.py:value", FileNotFoundError, "--task: no such file .*~no-such-user/other.py"),
        ("other.py:value", FileNotFoundError, "--task: no such file .*other.py"),
        ("mine.py:other", ValueError, "--task: mine.py has no 'other'; it has value, Thing"),
        ("nothing_like_it:x", ValueError, "--task: no module 'nothing_like_it'"),
        ("mine:value", ValueError, "--task: no module 'mine'; a file is named with its ending, mine.py"),
        ("broken.py:x", ValueError, "--task: broken.py fails when it is run: ZeroDivisionError: division by zero"),
        ("unread.py:x", ValueError, "--task: unread.py fails when it is run: SyntaxError: "),
    ],
)  # fmt: skip
def test_what_is_not_there(file, monkeypatch, place, kind, said):
    monkeypatch.chdir(file.parent)
    (file.parent / "broken.py").write_text("1 / 0")
    (file.parent / "unread.py").write_text("def")
    with pytest.raises(kind, match=said) as told:
        imported(place, "--task")
    assert "\n" not in str(told.value)
    assert not [m for m in sys.modules if m.startswith(("tnkit_file_broken", "tnkit_file_unread"))]


def test_an_interruption_goes_through(tmp_path):
    (tmp_path / "stopped.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        imported(f"{tmp_path}/stopped.py:x", "it")
    assert not [m for m in sys.modules if m.startswith("tnkit_file_stopped")]
