"""Calls a function with each argument replaced by each wrong value, and says what became of the call."""

import contextlib
import dis
import inspect
import io
import os
import re
import signal
import tempfile
import threading
import warnings
from collections import Counter
from dataclasses import dataclass

from .calls import CALLS, with_tensors
from .kinds import SPOKEN, reason
from .values import VALUES, derived

__all__ = ["Outcome", "counts", "drive", "right_call", "workplace"]

#: Seconds that one call may take; all that is given is tiny.
LIMIT = 5.0
#: How a call can end; the first two are right.
ENDS = ("refused", "allowed", "silent", "raw", "unclear", "warned", "hung")
_REFUSALS = (TypeError, ValueError, KeyError, MemoryError, OSError, ImportError, NotImplementedError)
_RAISE = dis.opmap["RAISE_VARARGS"]


class Late(BaseException):
    """The time of a call is up: no ``except Exception`` holds it."""


@dataclass(frozen=True)
class Outcome:
    """How one wrong call ended."""

    function: str
    argument: str
    value: str
    end: str
    words: str = ""

    @property
    def right(self):
        return self.end in ("refused", "allowed")

    def __str__(self):
        return f"{self.end:8} {self.function}({self.argument} = {self.value}): {self.words}"


@contextlib.contextmanager
def workplace():
    """A folder to write in, a cache of its own, silence, and a time limit a call (POSIX, main thread)."""
    before, cache = os.getcwd(), os.environ.get("XDG_CACHE_HOME")
    timed = hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGALRM, _late) if timed else None
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            yield
        finally:
            os.chdir(before)
            os.environ.pop("XDG_CACHE_HOME")
            if cache is not None:
                os.environ["XDG_CACHE_HOME"] = cache
            if timed:
                signal.signal(signal.SIGALRM, handler)


def _late(number, frame):
    raise Late


def right_call(name, tensors=False):
    """Run the right call of the table, or that with tensors."""
    function, args, kwargs = with_tensors(name) if tensors else CALLS[name]()
    with warnings.catch_warnings(action="ignore"):  # of files that are too few, say
        return function(*args, **kwargs)


def drive(name, tensors=False, labels=None):
    """The outcomes of all wrong calls of one function, or of those with values of these labels; used inside :func:`workplace`."""
    table = (lambda: with_tensors(name)) if tensors else CALLS[name]
    for argument, right in _arguments(*table()).items():
        values = {**VALUES, **derived(right)}
        for label, make in ((k, values[k]) for k in labels or values):
            yield _wrong_call(table, name, argument, label, make)


def counts(outcomes):
    """Number of calls, and how many of them ended in which way."""
    found = Counter(o.end for o in outcomes)
    return f"{sum(found.values())} wrong calls: " + ", ".join(f"{found[e]} {e}" for e in ENDS)


def _arguments(function, args, kwargs):
    """Argument -> its right value (its default, where the right call leaves it out)."""
    found = {}
    for k, p in enumerate(inspect.signature(function).parameters.values()):
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            default = None if p.default is p.empty else p.default
            placed = k < len(args) and p.kind is not p.KEYWORD_ONLY  # behind *operands there are many in front
            found[p.name] = args[k] if placed else kwargs.get(p.name, default)
    return found


def _placed(function, argument, value, args, kwargs):
    """The right call with one argument replaced, in its own place."""
    places = inspect.signature(function).parameters
    k = list(places).index(argument)
    if k < len(args) and places[argument].kind is not inspect.Parameter.KEYWORD_ONLY:
        return (*args[:k], value, *args[k + 1 :]), kwargs
    return args, {**kwargs, argument: value}


def _wrong_call(table, name, argument, label, make):
    function, args, kwargs = table()
    value = make()
    args, kwargs = _placed(function, argument, value, args, kwargs)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        end, words = _end(name, argument, label, lambda: function(*args, **kwargs))
    told = [w for w in told if not issubclass(w.category, (DeprecationWarning, FutureWarning))]
    if told and end in ("refused", "allowed"):
        end, words = "warned", f"{told[0].category.__name__}: {told[0].message}"
    return Outcome(name, argument, label, end, words)


def _end(name, argument, label, call):
    quiet = io.StringIO()
    try:
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            call()
    except Late:
        return "hung", f"no end in {LIMIT:g} s"
    except Exception as error:
        end, words = _judged(error, name, argument)
        called = end == "raw" and reason(name, argument, label) == "a right function"
        return ("allowed", "what a given function raises is its own") if called else (end, words)
    except SystemExit as error:
        return "raw", repr(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    why = reason(name, argument, label)
    return ("allowed", why) if why else ("silent", "taken without a word")


def _judged(error, name, argument):
    """Refused: raised by a raise of ours, one short line that names what is wrong."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    words = f"{type(error).__name__}: {text}"
    if not isinstance(error, _REFUSALS) or not _raised_by_us(error):
        return "raw", words
    if "\n" in text or len(text) > 300 or not _names(text, name, argument):
        return "unclear", words
    return "refused", words


def _raised_by_us(error):
    tb = error.__traceback__
    while tb.tb_next is not None:
        tb = tb.tb_next
    code = tb.tb_frame.f_code
    ours = re.search(r"[/\\]tnkit(_nn)?[/\\]", code.co_filename) is not None
    return ours and code.co_code[tb.tb_lasti] == _RAISE


def _names(text, name, argument):
    """Whether a message says which argument, node, index, layer or function it is about."""
    function = name.rsplit(".", 1)[-1]
    words = {argument, argument.rstrip("_"), function, function.rstrip("_"), *SPOKEN.get(argument, ())}
    words |= {"node", "index", "array", "layer"}
    return any(re.search(rf"(?<![A-Za-z]){re.escape(w)}s?(?![A-Za-z])", text, re.IGNORECASE) for w in words)
