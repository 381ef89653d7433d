"""What :func:`tnkit_nn.tensorize_` did: a row a weight, and the totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tnkit_nn.budgets import SLACK
from tnkit_nn.weights import spoken

__all__ = ["Tensorized", "TensorizedWeight"]

HEADS = ("weight", "shape", "family", "parameters", "compression", "error", "network")
_FEW = 6  # names that a line lists


@dataclass(frozen=True)
class TensorizedWeight:
    """One weight that is a network now.

    Attributes
    ----------
    names
        Of the parameter; more than one, where the weight is tied.
    shape, family
        Of the weight, and what it became.
    network
        The network in a line.
    params_before, params_after
        Parameters of the weight, and of the network alone.
    budget
        What the network was asked to have; None for a network that was given, or a budget that all weights share.
    error
        Frobenius norm of the change of the weight, relative to the weight's; None for a weight without values.
    method
        What found the arrays; ``drawn``, ``given``, or ``zero`` where the network is added to the weight.
    padding
        What of the network's tensor the weight does not use, in a sentence; empty where it uses all.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    family: str
    network: str
    params_before: int
    params_after: int
    budget: int | None
    error: float | None
    method: str
    padding: str

    @property
    def within(self) -> bool:
        """Whether the count is within 5 % of the budget, or there is none."""
        return self.budget is None or abs(self.params_after - self.budget) <= SLACK * self.budget


@dataclass(frozen=True)
class Tensorized:
    """Every weight that became a network, in the order of registration: ``print(report)``, ``pandas.DataFrame(report.rows)``.

    Attributes
    ----------
    rows
        One a weight; a tied weight is one row.
    params_before, params_after
        Parameters of the whole model, each counted once; those of weights that are kept beside a network included.
    trained
        Parameters of the model now that require a gradient.
    total
        What was asked for all networks together, or None.
    left
        Weight that a pattern selects -> why it is as it was.
    others
        Weights, and other parameters of two axes or more, that no pattern selects.
    """

    rows: tuple[TensorizedWeight, ...]
    params_before: int
    params_after: int
    trained: int
    total: int | None
    left: dict[str, str]
    others: tuple[str, ...]

    def __str__(self) -> str:
        from tabulate import tabulate

        return "\n".join([tabulate(self._cells(), HEADS, disable_numparse=True), *self._lines()])

    def _repr_html_(self) -> str:
        from html import escape

        from tabulate import tabulate

        lines = "".join(f"<p>{escape(line)}</p>" for line in self._lines())
        return f"{tabulate(self._cells(), HEADS, tablefmt='html', disable_numparse=True)}{lines}"

    def _cells(self) -> list[list[Any]]:
        return [
            [
                " = ".join(map(spoken, r.names)), "x".join(map(str, r.shape)), r.family, f"{r.params_before:,} -> {r.params_after:,}",
                f"{r.params_before / r.params_after:,.1f}x", "" if r.error is None else f"{r.error:.3f}", r.network,
            ]
            for r in self.rows
        ]  # fmt: skip

    def _lines(self) -> list[str]:
        before, after = sum(r.params_before for r in self.rows), sum(r.params_after for r in self.rows)
        off = self.total is not None and abs(after - self.total) > SLACK * self.total
        asked = (
            ""
            if self.total is None
            else f" (asked for: {self.total:,}{', but the families have no nearer counts' * off})"
        )
        return [
            f"these weights: {before:,} -> {after:,} parameters{asked}",
            f"whole model: {self.params_before:,} -> {self.params_after:,} parameters, {self.trained:,} of them trained",
            *_said("more than 5 % off the budget", [f"{spoken(r.names[0])} ({r.params_after:,} of {r.budget:,})" for r in self.rows if not r.within]),
            *(f"padded: {spoken(r.names[0])}: {r.padding}" for r in self.rows if r.padding),
            *_said("selected, and left as it is", [f"{spoken(n)} ({why})" for n, why in self.left.items()]),
            *_said("not selected", [spoken(n) for n in self.others]),
        ]  # fmt: skip


def _said(what: str, items: Sequence[str]) -> list[str]:
    """A line with the first few of some items; none without items."""
    more = f" and {len(items) - _FEW} more" if len(items) > _FEW else ""
    return [f"{what}: {', '.join(items[:_FEW])}{more}"] if items else []
