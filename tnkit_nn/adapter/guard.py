"""What reading a generated weight gives: a tensor that refuses to be written to, for nothing would come of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tnkit_nn.adapter.keeping import unseen_by_tools

__all__ = ["GeneratedWeight", "write_protected"]

#: What gives the same memory again, where a write is as much in vain.
_VIEWS = frozenset(
    (
        "detach", "data", "view", "reshape", "__getitem__", "t", "T", "mT", "H", "mH", "transpose", "permute", "flatten", "unflatten",
        "squeeze", "unsqueeze", "narrow", "select", "expand", "view_as", "expand_as", "reshape_as", "chunk", "split", "unbind", "swapaxes",
        "swapdims", "movedim", "diagonal", "unfold", "real", "imag", "view_as_real", "ravel", "contiguous", "to", "float", "double", "half",
        "bfloat16", "cpu", "type",
    )
)  # fmt: skip
#: Names with an underscore at their end that write nothing.
_HARMLESS = frozenset({"requires_grad_"})


class GeneratedWeight(Tensor):
    """A weight that a network made.  It goes where a tensor goes, and its results are plain tensors; writing to it is an error.

    ::

        with torch.no_grad():
            layer.weight.zero_()
        # RuntimeError: the weight of Linear is made by a network, so zero_ would be lost with it; merge_(module, 'weight') makes it dense first

    So are views of it, ``.data`` and ``.detach()``.  ``.clone()`` gives a plain tensor of one's own.
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
            name = getattr(getattr(func, "__self__", None), "__name__", name)
        if _needs_already(func, name, args, kwargs):
            return None if name == "__set__" else args[0]
        source = _written(func, name, args, kwargs)
        if source is not None:
            raise RuntimeError(
                f"{source.spoken} is made by a network, so {_said(func, name)} would be lost with it; {source.way_out}"
            )
        with torch._C.DisableTorchFunctionSubclass():
            made = func(*args, **kwargs)
        if name in _VIEWS:
            return _marked(made, args[0])
        if name in ("numpy", "__array__") and isinstance(args[0], GeneratedWeight):
            made.flags.writeable = False
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        """In a file it is a plain tensor."""
        return self.as_subclass(Tensor).__reduce_ex__(protocol)

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
    setting = name == "__set__" and getattr(getattr(func, "__self__", None), "__name__", "") == "requires_grad"
    weight = args[0] if args and (setting or name == "requires_grad_") else None
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
    return getattr(getattr(func, "__self__", None), "__name__", "") in _PROPERTIES


def _said(func: Callable[..., Any], name: str) -> str:
    """A call as it was written."""
    if name == "__set__":
        return f"setting {getattr(getattr(func, '__self__', None), '__name__', 'an attribute')}"
    return {"__setitem__": "weight[...] = value"}.get(name, name)


def _marked(made: Any, source: Any) -> Any:
    """A view of a generated weight as one; others as they are."""
    if isinstance(made, (tuple, list)):
        return type(made)(_marked(x, source) for x in made)
    if type(made) is not Tensor or not isinstance(source, GeneratedWeight):
        return made
    if made.is_meta or made.device != source.device:
        return made
    with torch._C.DisableTorchFunctionSubclass():
        shares = made.untyped_storage().data_ptr() == source.untyped_storage().data_ptr()
    return write_protected(made, source.spoken, source.way_out, source.maker) if shares else made
