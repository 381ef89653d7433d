"""The pickles of CIFAR's Python version, read without pickle: nothing is imported, and nothing that a file names is called.

A pickle is a program for a small stack machine.  The one here knows the instructions that such files need: dicts, lists, tuples,
strings, whole numbers and arrays of bytes, as Python 2 and 3 write them up to protocol 4.  It refuses every other one.
"""

from __future__ import annotations

import codecs
import pickletools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

__all__ = ["read"]

#: CIFAR-100's training file takes 0.9 million instructions in the longest spelling (protocol 0 of Python 3, 50,000 file names).
#: A value is 120 bytes or less, so that a small file cannot grow.  Lists are filled from the stack, at most 1,000 values at a time.
_STEPS, _STACK, _LINE = 2**20, 2**16, 255

#: A backslash before what Python 2 writes none before, once the doubled ones are gone.
_ESCAPE = re.compile(rb"\\[^'\"nrtx]")

_RECONSTRUCT, _NDARRAY, _DTYPE, _ENCODE = "array", "class of arrays", "dtype", "encode"
_NAMES: Mapping[tuple[bytes, bytes], str] = {
    (b"numpy.core.multiarray", b"_reconstruct"): _RECONSTRUCT,
    (b"numpy._core.multiarray", b"_reconstruct"): _RECONSTRUCT,
    (b"numpy", b"ndarray"): _NDARRAY,
    (b"numpy", b"dtype"): _DTYPE,
    (b"_codecs", b"encode"): _ENCODE,  # how Python 3 writes bytes below protocol 3
}


@dataclass(frozen=True)
class _Name:
    """One of the names that a file may give; a word, never the thing."""

    what: str


@dataclass
class _Blank:
    """An array or a dtype whose state comes later: the two things that BUILD fills."""

    kind: str
    name: str = ""
    array: np.ndarray | None = None


def read(content: bytes) -> Any:
    """What a pickle holds: dicts, lists, tuples, str, bytes, int, bool, None, and numpy arrays of uint8 as values of a dict.

    >>> import pickle
    >>> read(pickle.dumps({b"labels": [3, 5]}))
    {b'labels': [3, 5]}

    Strings of Python 2 are bytes.  The time and the memory are bounded by the size of ``content``.

    Raises
    ------
    ValueError
        The stream has another instruction or name, or it is damaged; the message says which, and at which byte.
    """
    return _Machine(content).run()


class _Machine:
    """The stack, its marks, what is remembered, and the place in the stream."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at, self.begun = content, 0, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(_STEPS):
            self.begun = self.at
            code = self.take(1)
            if code == b".":
                return self.end()
            step = _STEP.get(code)
            if step is None:
                known = {op.code: op.name for op in pickletools.opcodes}.get(code.decode("latin1"), f"0x{code.hex()}")
                raise self.wrong(f"instruction {known} is none of the published files'")
            step(self)
            if len(self.stack) + len(self.marks) > _STACK:
                raise self.wrong(f"more than {_STACK:,} values wait on the stack")
        raise self.wrong(f"it has more than {_STEPS:,} instructions")

    def end(self) -> Any:
        value = self.pop()
        if self.stack or self.marks or self.at < len(self.content):
            raise self.wrong(f"it ends, but {len(self.content) - self.at:,} bytes are left")
        return value

    def wrong(self, what: str) -> ValueError:
        return ValueError(f"{what} (byte {self.begun:,})")

    # -- the stream --------------------------------------------------------------------------------------------------------
    def take(self, count: int) -> bytes:
        if count < 0 or count > len(self.content) - self.at:
            raise self.wrong(f"{count:,} bytes expected, {len(self.content) - self.at:,} are left")
        self.at += count
        return self.content[self.at - count : self.at]

    def number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self, most: int = _LINE) -> bytes:
        end = self.content.find(b"\n", self.at, self.at + most + 1)
        if end < 0:
            raise self.wrong(f"a line of at most {most:,} bytes expected")
        return self.take(end + 1 - self.at)[:-1]

    def decimal(self) -> int:
        digits = self.line()
        if digits in (b"00", b"01"):
            return digits == b"01"
        number = digits.removesuffix(b"L")
        if len(number) > 20 or not number.removeprefix(b"-").isdigit():
            raise self.wrong(f"a whole number expected, {digits[:20]!r} found")
        return self.whole(int(number))

    def whole(self, value: int) -> int:
        if not -(2**63) <= value < 2**63:
            raise self.wrong("a whole number of 64 bits expected, a larger one found")
        return value

    # -- the stack ---------------------------------------------------------------------------------------------------------
    def push(self, value: Any) -> None:
        self.stack.append(value)

    def below(self, count: int) -> list[Any]:
        """The last so many values, taken off: never ones from below the last mark."""
        floor = self.marks[-1] if self.marks else 0
        if len(self.stack) - floor < count:
            raise self.wrong("a value is missing on the stack")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def pop(self) -> Any:
        return self.below(1)[0]

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise self.wrong("a mark is missing on the stack")
        values = self.below(len(self.stack) - self.marks[-1])
        self.marks.pop()
        return values

    def remember(self, where: int) -> None:
        value = self.pop()
        self.memo[where] = value
        self.push(value)

    def recall(self, where: int) -> None:
        if where not in self.memo:
            raise self.wrong(f"value {where:,} is asked for and was never stored")
        self.push(self.memo[where])

    # -- containers --------------------------------------------------------------------------------------------------------
    def extend(self, values: list[Any]) -> None:
        (target,) = self.below(1)
        if type(target) is not list:
            raise self.wrong(f"a list to add to expected, {_kind(target)} found")
        target += values
        self.push(target)

    def mapping(self, values: list[Any], target: Any) -> None:
        if type(target) is not dict or len(values) % 2:
            raise self.wrong(f"a dict and pairs to set expected, {_kind(target)} and {len(values):,} values found")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) not in (bytes, str, int):  # the hash of a deep tuple would recurse
                raise self.wrong(f"a key that is a string expected, {_kind(key)} found")
            target[key] = self.finished(value)
        self.push(target)

    def finished(self, value: Any) -> Any:
        if type(value) is not _Blank:
            return value
        if value.array is None:
            raise self.wrong(f"a value that is whole expected, {_kind(value)} found")
        return value.array

    # -- the four names, and what they stand for ------------------------------------------------------------------------------
    def name(self, module: Any, attribute: Any) -> None:
        pair = tuple(v.encode(errors="replace") if isinstance(v, str) else v for v in (module, attribute))
        found = _NAMES.get(pair) if all(type(v) is bytes for v in pair) else None  # type: ignore[arg-type]
        if found is None:
            said = ".".join(v.decode(errors="replace")[:60] if type(v) is bytes else _kind(v) for v in pair)
            raise self.wrong(f"the name {said!r} is none of the published files'")
        self.push(_Name(found))

    def reduce(self) -> None:
        function, given = self.below(2)
        what = function.what if type(function) is _Name else ""
        args = given if type(given) is tuple else ()
        if what == _ENCODE and len(args) == 2 and type(args[0]) is str and args[1] in ("latin1", "latin-1"):
            try:
                self.push(args[0].encode("latin1"))
            except UnicodeEncodeError:
                raise self.wrong("bytes expected, text with other characters found") from None
        elif what == _RECONSTRUCT and len(args) == 3 and type(args[0]) is _Name and args[0].what == _NDARRAY:
            self.push(_Blank(_RECONSTRUCT))
        elif what == _DTYPE and args and type(args[0]) in (str, bytes):
            name = args[0] if type(args[0]) is str else args[0].decode("latin1")
            if name not in ("u1", "|u1", "B", "uint8"):
                raise self.wrong(f"an array of uint8 expected, one of {name[:20]!r} found")
            self.push(_Blank(_DTYPE, name="uint8"))
        else:
            raise self.wrong(f"a call of {what or _kind(function)} that is none of the published files'")

    def build(self) -> None:
        target, state = self.below(2)
        if type(target) is not _Blank or type(state) is not tuple:
            raise self.wrong(f"an array or a dtype to fill expected, {_kind(target)} and {_kind(state)} found")
        if target.kind == _RECONSTRUCT:
            target.array = self.array(state)
        elif len(state) < 5 or any(part is not None for part in state[2:5]):
            raise self.wrong("a dtype without fields expected, another one found")
        self.push(target)

    def array(self, state: tuple[Any, ...]) -> np.ndarray:
        if len(state) != 5:
            raise self.wrong(f"the state of an array has 5 parts, not {len(state):,}")
        _, shape, dtype, fortran, raw = state
        if type(shape) is not tuple or len(shape) > 4 or any(type(n) is not int or not 0 <= n < 2**31 for n in shape):
            raise self.wrong("a shape of at most four whole numbers expected, another one found")
        if type(dtype) is not _Blank or dtype.kind != _DTYPE:
            raise self.wrong(f"a dtype expected, {_kind(dtype)} found")
        if type(raw) is not bytes or len(raw) != prod(shape):
            found = f"{len(raw):,} bytes" if type(raw) is bytes else _kind(raw)
            raise self.wrong(f"{prod(shape):,} bytes expected for an array of shape {shape}, {found} found")
        return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran is True else "C")

    # -- strings of protocol 0 -------------------------------------------------------------------------------------------------
    def quoted(self) -> bytes:
        line = self.line(len(self.content)).strip()
        bad = _ESCAPE.search(line.replace(b"\\\\", b""))
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1] or bad:
            raise self.wrong("a quoted string as Python 2 writes it expected")
        return self.decoded(lambda: codecs.escape_decode(line[1:-1])[0])

    def escaped(self) -> str:
        line = self.line(len(self.content))
        return self.decoded(lambda: line.decode("raw-unicode-escape"))

    def text(self, size: int) -> str:
        raw = self.take(self.number(size))
        return self.decoded(lambda: raw.decode("utf-8", "surrogatepass"))

    def decoded(self, decode: Callable[[], Any]) -> Any:
        try:
            return decode()
        except ValueError:  # of UnicodeDecodeError too
            raise self.wrong("a string expected, another run of bytes found") from None


def _kind(value: Any) -> str:
    """A value's type: never its text, which may be long or have no end."""
    if type(value) is _Blank:
        return f"an unfinished {value.kind}" if value.array is None else "an array"
    return f"a name ({value.what})" if type(value) is _Name else f"a {type(value).__name__}"


def _protocol(machine: _Machine) -> None:
    version = machine.number(1)
    if version > 5:
        raise machine.wrong(f"a pickle of protocol 0 to 5 expected, one of {version} found")


def _long(machine: _Machine) -> None:
    size = machine.number(1)
    if size > 8:
        raise machine.wrong(f"a whole number of 64 bits expected, one of {size} bytes found")
    machine.push(machine.number(size, signed=True))


#: What each instruction does, by its byte; pickletools names and explains them.
_STEP: dict[bytes, Callable[[_Machine], Any]] = {
    b"\x80": _protocol,
    b"\x95": lambda m: m.take(8),  # a frame: how the file is cut for reading
    # whole numbers, None and flags
    b"I": lambda m: m.push(m.decimal()),
    b"L": lambda m: m.push(m.decimal()),
    b"J": lambda m: m.push(m.number(4, signed=True)),
    b"K": lambda m: m.push(m.number(1)),
    b"M": lambda m: m.push(m.number(2)),
    b"\x8a": _long,
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    # strings of Python 2, bytes of Python 3, text
    b"S": lambda m: m.push(m.quoted()),
    b"T": lambda m: m.push(m.take(m.number(4, signed=True))),
    b"U": lambda m: m.push(m.take(m.number(1))),
    b"B": lambda m: m.push(m.take(m.number(4))),
    b"C": lambda m: m.push(m.take(m.number(1))),
    b"V": lambda m: m.push(m.escaped()),
    b"X": lambda m: m.push(m.text(4)),
    b"\x8c": lambda m: m.push(m.text(1)),
    # tuples, lists, dicts
    b"(": lambda m: m.marks.append(len(m.stack)),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.since_mark())),
    b"\x85": lambda m: m.push(tuple(m.below(1))),
    b"\x86": lambda m: m.push(tuple(m.below(2))),
    b"\x87": lambda m: m.push(tuple(m.below(3))),
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.since_mark()),
    b"a": lambda m: m.extend(m.below(1)),
    b"e": lambda m: m.extend(m.since_mark()),
    b"}": lambda m: m.push({}),
    b"d": lambda m: m.mapping(m.since_mark(), {}),
    b"s": lambda m: m.mapping(m.below(2), m.pop()),
    b"u": lambda m: m.mapping(m.since_mark(), m.pop()),
    # what is remembered
    b"p": lambda m: m.remember(m.decimal()),
    b"q": lambda m: m.remember(m.number(1)),
    b"r": lambda m: m.remember(m.number(4)),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"g": lambda m: m.recall(m.decimal()),
    b"h": lambda m: m.recall(m.number(1)),
    b"j": lambda m: m.recall(m.number(4)),
    # names, and the three things done with them
    b"c": lambda m: m.name(m.line(), m.line()),
    b"\x93": lambda m: m.name(*m.below(2)),
    b"R": _Machine.reduce,
    b"b": _Machine.build,
}
