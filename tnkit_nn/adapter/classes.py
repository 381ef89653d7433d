"""The class that torch makes for a module with a parametrized weight: guarded against writes, and one that can be pickled."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from tnkit_nn.adapter.generated import Generated, generator_of
from tnkit_nn.adapter.guard import GeneratedWeight, write_protected
from tnkit_nn.adapter.lora import contract_again
from tnkit_nn.adapter.owners import tied

__all__ = ["adapt", "forget_flat", "own_class", "unregister"]


def own_class(module: nn.Module) -> None:
    """Give a parametrized module a class of its own: copies of a module share the one that torch made, and is about to change."""
    if parametrize.is_parametrized(module):
        cls = type(module)
        module.__class__ = type(cls.__name__, cls.__bases__, dict(vars(cls)))


def adapt(module: nn.Module, name: str) -> None:
    """Make the class what we promise, once ``name`` has been parametrized by a network."""
    cls = cast(Any, type(module))
    read = vars(cls)[name].fget
    plain = cls.__bases__[0]

    def get(self: nn.Module) -> Tensor:
        way_out = f"merge_(module, {name!r}) makes it dense first"
        arrays = f"module.parametrizations[{name!r}][0]"
        return write_protected(read(self), f"the {name} of {_spoken(type(self))}", way_out, _maker(self, name), arrays)

    def put(self: nn.Module, value: Any) -> None:
        mine = isinstance(value, GeneratedWeight) and tied(value.maker, _maker(self, name))
        if not mine:  # tie_weights() of a language model ties what is tied
            raise _assigned(self, name)

    setattr(cls, name, property(get, put))
    cls.register_parameter, cls.register_buffer = _register_parameter, _register_buffer
    cls.__reduce_ex__, cls.__setstate__ = _reduced, _with_state
    if issubclass(plain, parametrize.ParametrizationList):
        cls.__len__ = _length
    if issubclass(plain, nn.RNNBase):
        cls.__deepcopy__ = _forgetting(cls.__deepcopy__)
        forget_flat(module)


def _maker(module: nn.Module, name: str) -> Generated | None:
    return generator_of(cast(Any, module.parametrizations)[name])


def _assigned(module: nn.Module, name: str) -> RuntimeError:
    return RuntimeError(
        f"the {name} of {_spoken(type(module))} is made by a network and cannot be assigned; merge_(module, {name!r}) makes it dense "
        "first, and new arrays are loaded into the network"
    )


def _register_parameter(self: nn.Module, name: str, param: Any) -> None:
    """As torch has it, but for a name that a network stands for."""
    made = vars(self).get("_modules", {}).get("parametrizations", {})
    if name in made and generator_of(made[name]) is not None:
        raise _assigned(self, name)
    nn.Module.register_parameter(self, name, param)


def _register_buffer(self: nn.Module, name: str, tensor: Any, persistent: bool = True) -> None:
    """As torch has it, but for a frozen weight whose network was taken away by torch: it is a parameter again, as before."""
    if isinstance(tensor, GeneratedWeight):
        self.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
    else:
        nn.Module.register_buffer(self, name, tensor, persistent)


def unregister(module: nn.Module, name: str) -> None:
    """Take the parametrizations of a weight away, and the class with the last of them; the name is free then."""
    own_class(module)
    cls = type(module)
    del cast(nn.ModuleDict, module.parametrizations)[name]
    delattr(cls, name)
    if not parametrize.is_parametrized(module):
        del module.parametrizations
        module.__class__ = cls.__bases__[0]


def _spoken(cls: type) -> str:
    return cls.__name__.removeprefix("Parametrized")


# -- pickles ------------------------------------------------------------------------------------------------------------
def _reduced(self: nn.Module, protocol: Any) -> tuple[Any, ...]:
    """The class that the module had, the names that are parametrized, and its state, as pickle wants it."""
    if isinstance(self, nn.RNNBase):
        forget_flat(self)
    plain = type(self).__bases__[0]
    return _rebuilt, (plain, tuple(cast(nn.ModuleDict, self.parametrizations))), cast(Any, plain).__getstate__(self)


def _with_state(self: nn.Module, state: Any) -> None:
    cast(Any, type(self).__bases__[0]).__setstate__(self, state)
    forget_flat(self)
    contract_again(self)


def _rebuilt(plain: type[nn.Module], names: tuple[str, ...]) -> nn.Module:
    """A module without its state, of a class that has these names parametrized."""
    module = plain.__new__(plain)
    parametrize._inject_new_class(module)
    for name in names:
        parametrize._inject_property(module, name)
        adapt(module, name)
    return module


# -- torch's lists of parametrizations ------------------------------------------------------------------------------------
def _length(self: parametrize.ParametrizationList) -> int:
    """How many parametrizations there are: what is kept of its own parametrized original is none of them."""
    return sum(key.isdecimal() for key in self._modules)


# -- recurrent modules ----------------------------------------------------------------------------------------------------
def _forgetting(inner: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(inner)
    def deepcopied(self: nn.Module, memo: dict[int, Any]) -> Any:
        forget_flat(self)
        return inner(self, memo)

    return deepcopied


def forget_flat(module: nn.Module) -> None:
    """Leave generated weights out of the list that torch's recurrent modules keep: it is read anew at the next forward."""
    rnn = cast(Any, module)
    if "_flat_weights" not in vars(rnn):
        return
    made = [parametrize.is_parametrized(rnn, name) for name in rnn._flat_weights_names]
    rnn._flat_weights = [None if m else w for m, w in zip(made, rnn._flat_weights, strict=True)]
    rnn._flat_weight_refs = [_gone if m else ref for m, ref in zip(made, rnn._flat_weight_refs, strict=True)]


def _gone() -> None:
    """Stands for a reference to a weight that is no more: torch then reads all of them anew."""
