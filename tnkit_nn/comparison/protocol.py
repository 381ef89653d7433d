"""How a comparison is run: which weights, how many seeds, how long everything trains."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from tnkit.core.checks import one_of, sequence, shown, text
from tnkit.core.numbers import whole_number
from tnkit_nn.checks import a_size
from tnkit_nn.comparison.rates import RULES

__all__ = ["RESTS", "Protocol"]

RESTS = ("all", "head", "none")


@dataclass(frozen=True)
class Protocol:
    """The arguments of :func:`tnkit_nn.compare` that results depend on, apart from its rows.

    Attributes
    ----------
    layer
        Names or patterns of weights that are replaced together; none of them stands for the largest.
    seeds, first_seed
        Number of seeds and the first of them.
    dense_steps, fit_steps, tune_steps
        Adam steps of the dense training, of the approximation by gradients and of the fine-tuning.
    rest
        Which other layers are fine-tuned: ``all``, ``head`` or ``none``.
    approximation
        How networks are brought near the trained weights.
    rates
        Whether all arrays of a network are fine-tuned at one rate, or each at its own, by structure
        (:func:`tnkit_nn.comparison.rates.rate_factors`).

    Raises
    ------
    TypeError, ValueError
        A number of seeds or steps that is no whole number of at least 1, names that are none, an unknown word.
    """

    layer: tuple[str, ...] = ()
    seeds: int = 3
    first_seed: int = 0
    dense_steps: int = 400
    fit_steps: int = 200
    tune_steps: int = 200
    rest: str = "all"
    approximation: str = "auto"
    rates: str = "equal"

    def __post_init__(self) -> None:
        store = partial(object.__setattr__, self)
        for name in ("seeds", "dense_steps", "fit_steps", "tune_steps"):
            store(name, a_size(getattr(self, name), f"compare: {name}"))
        store("first_seed", whole_number(self.first_seed, "compare: first_seed", 0, 2**40))
        one_of(self.rest, "compare: rest", RESTS)
        one_of(self.approximation, "compare: approximation", ("auto", "gradient"))  # what suits any network
        one_of(self.rates, "compare: rates", RULES)
        given: object = () if self.layer is None else self.layer
        names = (given,) if isinstance(given, str) else sequence(given, "compare: layer")
        layers = tuple(text(name, "compare: layer: each name") for name in names)
        if len(set(layers)) < len(layers):
            raise ValueError(f"compare: layer: names are one or more, each named once, not {shown(layers)}")
        store("layer", layers)

    @property
    def each(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)
