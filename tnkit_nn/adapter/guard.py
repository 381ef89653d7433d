"""What reading a generated weight gives: a tensor that refuses to be written to, for nothing would come of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tnkit_nn.adapter.keeping import unseen_by_tools

__all__ = ["GeneratedWeight", "write_protected"]

#: What forwards do with a weight, all of which gives other memory: it is not looked at again.
_FRESH = frozenset(
    (
        "linear", "bilinear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "embedding",
        "embedding_bag", "lstm", "gru", "rnn_tanh", "rnn_relu", "matmul", "__matmul__", "__rmatmul__", "mm", "addmm", "add", "mul", "sub",
        "clone", "copy_",
    )
)  # fmt: skip
#: What ``other.data = weight.data`` takes the memory of, which would be that of a kept weight.
_TAKEN = ("data", "detach")
#: What asks for a plain tensor in so many words.
_PLAIN = "as_subclass"
#: Names with an underscore at their end that write nothing.
_HARMLESS = frozenset({"requires_grad_"})


class GeneratedWeight(Tensor):
    """A weight that a network made.  It goes where a tensor goes, and its results are plain tensors; writing to it is an error.

    ::

        with torch.no_grad():
            layer.weight.zero_()
        # RuntimeError: the weight of Linear is made by a network, so zero_ would be lost with it; merge_(module, 'weight') makes it dense first

    So are views of it, ``.data`` and ``.detach()``.  ``.clone()`` gives a plain tensor of one's own, ``nn.Parameter(weight)`` a
    parameter, and ``.data`` and ``.detach()`` are copies where it may be one that is kept, for others take their memory.
    """

    #: What it is the weight of, and what to do instead, for messages; the module that made it.
    spoken: str = "a weight"
    way_out: str = ""
    maker: Any = None
    #: Where the arrays are that are trained in its place, for messages; empty of a view, whose ``requires_grad`` is its own.
    arrays: str = ""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run what was asked for on the plain tensors, unless it writes."""
        kwargs = kwargs or {}
        name = func.__name__
        if name == "__get__":  # of a property, whose own name this is
            name = _property(func) or name
        if _needs_already(func, name, args, kwargs):
            return None if name == "__set__" else args[0]
        source = _written(func, name, args, kwargs)
        if source is not None:
            raise RuntimeError(
                f"{source.spoken} is made by a network, so {_said(func, name)} would be lost with it; {source.way_out}"
            )
        with torch._C.DisableTorchFunctionSubclass():
            made = func(*args, **kwargs)
            if name in _TAKEN and isinstance(args[0], GeneratedWeight) and not args[0].requires_grad:
                return write_protected(made.clone(), args[0].spoken, args[0].way_out, args[0].maker)
        if name not in _FRESH and name != _PLAIN:
            made = _marked(made, _sources(args))
        if name in ("numpy", "__array__") and isinstance(args[0], GeneratedWeight):
            made.flags.writeable = False
        return made

    @property
    def _is_param(self) -> bool:
        return False

    @_is_param.setter
    def _is_param(self, value: bool) -> None:
        """Become a plain parameter, in memory of its own: ``nn.Parameter(weight)`` sets it on what it gives."""
        with torch._C.DisableTorchFunctionSubclass():
            self.data = self.data.clone()
        vars(self).clear()
        self.__class__ = nn.Parameter  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """In a file it is a plain tensor."""
        return self.as_subclass(Tensor).__reduce_ex__(protocol)

    def __format__(self, spec: str) -> str:
        """An entry is written as a number, which torch does for plain tensors alone."""
        return self.as_subclass(Tensor).__format__(spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A plain tensor of one's own, as far as torch copies tensors with a history."""
        copied: Tensor = self.as_subclass(Tensor).__deepcopy__(memo)
        return copied


def write_protected(weight: Tensor, spoken: str, way_out: str, maker: object, arrays: str = "") -> Tensor:
    """A weight as it is given out; plain where a tool looks at what is done with it."""
    if type(weight) is not Tensor or not unseen_by_tools(weight):
        return weight
    made = weight.as_subclass(GeneratedWeight)
    made.spoken, made.way_out, made.maker, made.arrays = spoken, way_out, maker, arrays
    return made


def _needs_already(func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a weight is to be frozen or trained, and is so; RuntimeError where its arrays, which that is of, are not."""
    asked = name == "requires_grad_" or (name == "__set__" and _property(func) == "requires_grad")
    weight = args[0] if args and asked else None
    if not isinstance(weight, GeneratedWeight) or not weight.arrays or weight.maker is None:
        return False
    needed = bool(args[1] if len(args) > 1 else kwargs.get("requires_grad", True))
    if any(p.requires_grad is not needed for p in weight.maker.parameters()):
        raise RuntimeError(
            f"{weight.spoken} is made by a network, so requires_grad would be lost with it; "
            f"{weight.arrays}.requires_grad_({'' if needed else needed}) {'trains' if needed else 'freezes'} its arrays"
        )
    return weight.requires_grad is needed


def _written(
    func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> GeneratedWeight | None:
    """The generated weight that a call writes to, if it does."""
    targets: list[Any] = [kwargs.get("out")]
    inside = name.startswith("__i") and name.endswith("__") and name not in ("__index__", "__int__", "__invert__")
    if name in ("__setitem__", "__set__") or inside or kwargs.get("inplace"):
        targets.append(args[0] if args else None)
    elif name.endswith("_") and not name.endswith("__") and name not in _HARMLESS:
        targets.append(args[0] if args else next(iter(kwargs.values()), None))
    for target in targets:
        for one in target if isinstance(target, (tuple, list)) else (target,):
            if isinstance(one, GeneratedWeight) and not _harmless(func):
                return one
    return None


#: Properties that may be set, for they are of the tensor, not of its entries.
_PROPERTIES = frozenset({"grad", "requires_grad", "names", "retains_grad"})


def _harmless(func: Callable[..., Any]) -> bool:
    return _property(func) in _PROPERTIES


def _property(func: Callable[..., Any]) -> str:
    """The property that a call gets or sets."""
    return str(getattr(getattr(func, "__self__", None), "__name__", ""))


def _said(func: Callable[..., Any], name: str) -> str:
    """A call as it was written."""
    if name == "__set__":
        return f"setting {_property(func) or 'an attribute'}"
    return {"__setitem__": "weight[...] = value"}.get(name, name)


def _sources(args: Any) -> list[GeneratedWeight]:
    """The generated weights among the arguments of a call, those in lists too."""
    found = []
    for one in args:
        if isinstance(one, GeneratedWeight):
            found.append(one)
        elif isinstance(one, (tuple, list)):
            found += [x for x in one if isinstance(x, GeneratedWeight)]
    return found


def _marked(made: Any, sources: list[GeneratedWeight]) -> Any:
    """What has the memory of a generated weight as one; all else as it is."""
    if isinstance(made, (tuple, list)):
        marked = [_marked(x, sources) for x in made]
        return made if all(x is y for x, y in zip(marked, made, strict=True)) else type(made)(marked)
    if type(made) is not Tensor or not unseen_by_tools(made) or made.layout is not torch.strided:
        return made
    with torch._C.DisableTorchFunctionSubclass():
        place = made.untyped_storage().data_ptr()
        source = next((x for x in sources if x.untyped_storage().data_ptr() == place), None)
    return made if source is None else write_protected(made, source.spoken, source.way_out, source.maker)
