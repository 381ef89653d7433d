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
