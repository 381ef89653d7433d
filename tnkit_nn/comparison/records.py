"""The records of a comparison: checked where they come in, those of earlier versions upgraded, flattened for tables and files."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from tnkit.core.checks import flag, sequence, shown, text
from tnkit.core.extras import need
from tnkit.core.numbers import whole_number
from tnkit_nn.families import CONTROLS
from tnkit_nn.strict import NOT_FINITE, loosened

__all__ = ["Columns", "Records", "columns", "csv_of", "frame", "parquet_of", "records_of", "upgraded"]

Records = Sequence[Mapping[str, Any]]
#: Name of a column -> its values, a record each.
Columns = dict[str, list[Any]]

#: What a key was called before other metrics than the accuracy were known.
_RENAMED = {
    "chance": "baseline", "accuracy_fit": "test_fit", "accuracy_frozen": "test_frozen", "accuracy_trained": "test_trained",
    "test_images": "test_examples",
}  # fmt: skip
#: What every record has: without these nothing can be said.
_NEEDED = ("label", "budget", "seed", "num_params", "test_frozen", "val_frozen")
#: What a record of an earlier version lacks, where it does not follow from the rest (:func:`upgraded`).
_LACKED: dict[str, Any] = {
    "depth": None, "activation": None, "at_least": None, "model_params": None, "model_dense": None, "trained_elsewhere": 0, "error": None, "baseline": None,
    "test_fit": None, "test_trained": None, "val_trained": None, "frozen_from": {}, "trained_from": {}, "chosen_frozen": {},
    "chosen_trained": {}, "curves": {}, "scores": None, "flops": None, "forward": {}, "seconds": None, "approximation": {}, "networks": {}, "layer": "",
    "layer_params": None, "test_examples": None, "metric": {"name": "accuracy", "unit": "%", "larger": True}, "model": "", "data": "", "dense_steps": None, "fit_steps": None, "tune_steps": None, "rates": "equal", "replicas": "", "machine": {},
    "command": None, "left_out": {}, "versions": {},
}  # fmt: skip
_FOLLOWING = ("family", "examples", "kind", "description", "full_params", "title", "rest")
_ALL = frozenset([*_NEEDED, *_LACKED, *_FOLLOWING])
#: What has no number where :data:`_LACKED` has None.
_OF_ANY_KIND = ("activation", "scores", "command")
#: What all records of one comparison have in common, where they know it.
_MADE_BY = (
    "title",
    "model",
    "data",
    "layer",
    "dense_steps",
    "fit_steps",
    "tune_steps",
    "rest",
    "rates",
    "test_examples",
)
#: Too long for a cell; they are in results.json.
_LONG = ("networks", "curves", "left_out")


def upgraded(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as this version writes them: old keys renamed, and what an old record lacks filled in.

    A record without a metric is of the accuracy on images: there was no other.  Numbers that its file has as null, for they are not
    finite, are put back.

    >>> upgraded({"label": "hashed", "accuracy_frozen": 0.9})["test_frozen"]
    0.9
    """
    record = loosened(record) if NOT_FINITE in record else record
    if record.keys() >= _ALL:
        return record if isinstance(record, dict) else dict(record)
    found = {new: value for key, value in record.items() if (new := _RENAMED.get(key, key)) == key or new not in record}
    label, metric = str(found.get("label")), found.get("metric")
    following = {
        "family": label,
        "kind": "control" if label in CONTROLS or label == "small dense" else "network",
        "description": CONTROLS.get(label, ""),
        "full_params": found.get("num_params"),
        "title": " on ".join(str(found[k]) for k in ("model", "data") if found.get(k)),
        "rest": "none" if found.get("test_trained") is None else "all",
        "examples": "images" if metric is None else "examples",
    }
    lacked = {key: dict(value) if isinstance(value, dict) else value for key, value in _LACKED.items()}
    return found | {key: value for key, value in {**following, **lacked}.items() if key not in found}


def records_of(value: Any, who: str, *, again: bool = False) -> list[dict[str, Any]]:
    """Records as they are given, checked and upgraded; ``again`` allows two of one row and seed, as two comparisons have them.

    Raises
    ------
    TypeError, ValueError
        By the name ``who``: no sequence of records, none at all, one that lacks what every record has; two of one row and seed,
        rows of unlike seeds, or records that were made in unlike ways.
    """
    found = sequence(value, f"{who}: records")
    if not found:
        raise ValueError(f"{who}: records are those of a comparison, one or more, not none")
    records, seen = [_checked(record, f"{who}: records[{k}]") for k, record in enumerate(found)], set[Any]()
    for k, r in enumerate(records):
        key = r["label"], r["budget"], r["seed"]
        if key in seen and not again:  # it would count twice
            raise ValueError(f"{who}: records are one a row and seed; records[{k}] is a second one of {shown(key)}")
        seen.add(key)
    if not again:
        _of_one_comparison(records, who)
    return records


def _of_one_comparison(records: Sequence[Mapping[str, Any]], who: str) -> None:
    """ValueError where rows have unlike seeds, or were made in unlike ways: their differences would not be paired."""
    known: dict[str, Mapping[str, Any]] = {}
    seeds: dict[tuple[str, int | None, str], set[int]] = {}
    for r in records:
        for reading in ("frozen", "trained"):
            found = seeds.setdefault((r["label"], r["budget"], reading), set())
            if r[f"test_{reading}"] is not None:
                found.add(r["seed"])
        for name in _MADE_BY:
            if r[name] in (None, "") or (name == "rest" and r["test_trained"] is None):
                continue  # records of earlier versions know less
            first = known.setdefault(name, r)
            if r[name] != first[name]:
                raise ValueError(
                    f"{who}: records are of one comparison, all made alike; {name} is {shown(first[name])} of {_row(first)}, "
                    f"but {shown(r[name])} of {_row(r)}"
                )
    every = {r["seed"] for r in records}
    for (label, budget, reading), found in seeds.items():
        if found and found != every:
            row = _row({"label": label, "budget": budget})
            raise ValueError(
                f"{who}: records are of the same seeds in every row, {_numbers(every)}; test_{reading} of {row} has {_numbers(found)}"
            )


def _row(record: Mapping[str, Any]) -> str:
    return shown(record["label"]) + ("" if record["budget"] is None else f" at {record['budget']}")


def _numbers(seeds: set[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _checked(record: Any, what: str) -> dict[str, Any]:
    if not isinstance(record, Mapping):
        raise TypeError(f"{what} is a record, a dict as compare gives it, not {shown(record)}")
    record = upgraded(record)
    missing = [key for key in _NEEDED if key not in record]
    if missing:
        raise ValueError(f"{what} has {', '.join(_NEEDED)}; it lacks {missing[0]!r}")
    text(record["label"], f"{what}: label")
    whole_number(record["seed"], f"{what}: seed", 0)
    if record["budget"] is not None:
        whole_number(record["budget"], f"{what}: budget", 1)
    readings = [n for n in ("frozen", "trained") if record[f"test_{n}"] is not None]
    for key in (f"{part}_{n}" for n in readings or ["frozen"] for part in ("test", "val")):
        _check_number(record[key], f"{what}: {key}")
    untold = [k for k in _MADE_BY if record[k] is None and (k in _FOLLOWING or _LACKED.get(k) == "")]
    record = {**record, **dict.fromkeys(untold, "")} if untold else record  # null in the file of an earlier version
    _check_kinds(record, what)
    metric = record["metric"]
    if not metric.keys() >= {"name", "unit", "larger"}:
        raise TypeError(f'{what}: metric is {{"name": ..., "unit": ..., "larger": ...}}, not {shown(metric)}')
    text(metric["name"], f"{what}: metric: name")
    text(metric["unit"], f"{what}: metric: unit", empty=True)
    flag(metric["larger"], f"{what}: metric: larger")
    return record


def _check_kinds(record: Mapping[str, Any], what: str) -> None:
    """TypeError for a text, a dict or a number that is none: the tables would say so from inside."""
    whole_number(record["num_params"], f"{what}: num_params", 0)
    for key, lacked in {**_LACKED, **dict.fromkeys(_FOLLOWING, ""), "full_params": None}.items():
        value = record[key]
        if isinstance(lacked, str):
            text(value, f"{what}: {key}", empty=True)
        elif isinstance(lacked, Mapping) and not isinstance(value, Mapping):
            raise TypeError(f"{what}: {key} is a dict, not {shown(value)}")
        elif not isinstance(lacked, Mapping) and value is not None and key not in _OF_ANY_KIND:
            _check_number(value, f"{what}: {key}")


def _check_number(value: Any, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what} is a number, not {shown(value)}")


# -- flat -----------------------------------------------------------------------------------------------------------
def columns(records: Records) -> Columns:
    """Flat columns, a record a row: ``chosen_frozen`` becomes ``chosen_frozen_rate`` and ``chosen_frozen_start``.

    Networks, curves and what was left out are no columns.  What a record lacks is None; columns stand in the records' order, those
    of one dict together.
    """
    every = [_flat(record) for record in records]
    groups: dict[str, dict[str, None]] = {}
    for flat in every:
        for key, name in flat:
            groups.setdefault(key, {})[name] = None
    return {name: [flat.get((key, name)) for flat in every] for key, names in groups.items() for name in names}


def _flat(record: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """(Key, name of the column) -> value."""
    out: dict[tuple[str, str], Any] = {}
    for key, value in record.items():
        if key in _LONG:
            continue
        if isinstance(value, Mapping):
            out |= {(key, f"{key}_{name}".replace(" ", "_")): _cell(inner) for name, inner in value.items()}
        else:
            out[key, key] = _cell(value)
    return out


def _cell(value: Any) -> Any:
    """A number, a text or None; a list of words as one line."""
    if isinstance(value, (list, tuple)):
        return shlex.join(map(str, value))
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def csv_of(records: Records) -> str:
    """The columns as CSV: None is an empty cell."""
    found, out = columns(records), io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(found)
    writer.writerows(zip(*found.values(), strict=True))
    return out.getvalue()


def frame(records: Records) -> Any:
    """The records as a flat table of pandas: ``tknn.frame(found).groupby("label")["test_frozen"].mean()``.

    >>> row = {"budget": 10, "num_params": 8, "val_frozen": 0.5}  # a record, in short
    >>> records = [{**row, "label": label, "seed": seed, "test_frozen": 0.5 + 0.1 * seed} for label in ("mpo", "cp") for seed in (0, 1)]
    >>> tknn.frame(records).groupby("label")["test_frozen"].mean().to_dict()
    {'cp': 0.55, 'mpo': 0.55}

    Parameters
    ----------
    records
        What :func:`tnkit_nn.compare` returns, or what ``results.json`` has.

    Returns
    -------
    pandas.DataFrame
        A row a record.  What is a dict in a record is a column for each of its keys; networks and curves are left out.  Whole numbers
        with gaps are ``Int64``.

    Raises
    ------
    MissingExtra
        pandas is not installed.
    TypeError, ValueError
        No records.
    """
    found = columns(records_of(records, "frame", again=True))
    need("tknn.frame", "pandas")
    import pandas

    return pandas.DataFrame({name: _series(values, pandas) for name, values in found.items()})


def _series(values: list[Any], pandas: Any) -> Any:
    given = [v for v in values if v is not None]
    whole = bool(given) and all(isinstance(v, int) and not isinstance(v, bool) for v in given)
    return pandas.array(values, dtype="Int64") if whole and len(given) < len(values) else values


def parquet_of(records: Records) -> bytes | None:
    """The columns as a Parquet file; None where pyarrow is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return None
    table = pyarrow.table({name: _of_one_kind(values) for name, values in columns(records).items()})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


def _of_one_kind(values: list[Any]) -> list[Any]:
    """Values of one type, as a column of a file has them: whole numbers beside others become floats, and what is mixed text."""
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {int, float} and len(kinds) > 1:
        return [None if v is None else float(v) for v in values]
    return values if len(kinds) < 2 else [None if v is None else str(v) for v in values]
