"""Ctrl-C at moments at which Python's own way fails: in an import, in a callback that cannot raise, twice."""

import signal
import subprocess
import sys

import pytest

CODE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell has none
from tnkit.core.interrupts import early, raised

def hit():
    os.kill(os.getpid(), signal.SIGINT)

class Deleted:
    def __del__(self):
        hit()
        for _ in range(100): pass

{setup}
try:
    with raised(lambda: "it: stopped"):
        {work}
        print("went on")
except KeyboardInterrupt:
    hit()  # nobody is interrupted at the end
    print("caught")
"""


def ran(work, setup="", path="."):
    code = CODE.format(work=work, setup=setup)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of another kind")
def test_moments(tmp_path):
    (tmp_path / "slow_module.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nfor _ in range(100): pass\n"
    )
    assert ran("hit()") == (0, "caught", "")
    assert ran("Deleted()") == (130, "", "it: stopped")  # Python: "Exception ignored in", and it goes on
    assert ran("import slow_module", "sys.path.insert(0, sys.argv[1])", tmp_path) == (130, "", "it: stopped")
    assert ran("signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT)); print('no')") == (0, "no\nwent on", "")
    twice = "def both():\n    try:\n        hit()\n    except KeyboardInterrupt:\n        hit()"
    assert ran("both()", twice) == (130, "", "it: stopped")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of another kind")
def test_an_end_without_stderr(tmp_path):
    (tmp_path / "slow_module.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nfor _ in range(100): pass\n"
    )
    setup = "sys.path.insert(0, sys.argv[1]); os.close(2)"
    assert ran("import slow_module", setup, tmp_path) == (130, "", "")


WAITING = """
import os, signal, sys, time, types
from tnkit.core import interrupts
if sys.argv[1] == "nt":  # the way of Windows, where os.kill would end the process
    interrupts.os = types.SimpleNamespace(name="nt", write=os.write, _exit=os._exit)
interrupts._children = lambda: [types.SimpleNamespace(terminate=lambda: None)]  # to be ended in good order
try:
    with interrupts.raised(lambda: "it: stopped"):
        sys.path.insert(0, sys.argv[2])
        import slow_module
        for _ in range(3000):
            time.sleep(0.01)
except KeyboardInterrupt:
    print("caught", "slow_module" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of another kind")
@pytest.mark.parametrize("name", ["posix", "nt"])
def test_an_import_with_children_is_ended_behind_it(name, tmp_path):
    (tmp_path / "slow_module.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nfor _ in range(100): pass\n"
    )
    done = subprocess.run([sys.executable, "-c", WAITING, name, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "caught True\n", "")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of another kind")
@pytest.mark.parametrize("first, command", [("tnkit", True), ("/usr/bin/tnkit", True), ("other.py", False)])
def test_during_the_imports_of_the_command_alone(first, command):
    code = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell has none
sys.argv[0] = {first!r}
class Finder:
    def find_spec(self, name, *_):
        if name == "numpy":
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(100): pass
sys.meta_path.insert(0, Finder())
import tnkit
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if command:
        assert (done.returncode, done.stderr) == (130, "tnkit: interrupted\n")
    else:  # a program of somebody else's keeps Python's way
        assert "KeyboardInterrupt" in done.stderr
