"""A change of modules in place that is made whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["all_or_nothing"]


@contextmanager
def all_or_nothing(*modules: nn.Module, values: bool = False) -> Iterator[None]:
    """Within it modules are changed; if that fails at any point, Ctrl-C included, they are put back to what they were.

    ::

        with all_or_nothing(model):
            parametrize_(model.fc1, "weight", net)
            parametrize_(model.fc2, "weight", net)  # fails: fc1 is dense again

    Put back are the modules below, their classes, parameters and buffers (the same objects at the same places), hooks,
    ``requires_grad``, modes and other attributes.

    Parameters
    ----------
    *modules
        What is changed, with all that is below.
    values
        Values may be changed too, not only which objects stand where: they are copied before, and put back, in their dtype.
    """
    back = [_attributes(m) for m in dict.fromkeys(m for module in modules for m in module.modules())]
    tensors = {t: None for module in modules for t in (*module.parameters(), *module.buffers())}
    made = [
        t for t in tensors if not isinstance(t, (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer))
    ]  # others have nothing to put back
    back += [_tensor(t, values) for t in made]
    try:
        yield
    except BaseException:
        for put_back in back:
            put_back()
        raise


def _tensor(t: Tensor, values: bool) -> Callable[[], None]:
    """What puts a tensor's gradient and ``requires_grad`` back, and its values; ``Module.half()`` gives it other data, of another dtype."""
    needed, grad, data = t.requires_grad, t.grad, t.detach()
    slope, value = None if grad is None else grad.detach(), data.clone() if values else None

    def put_back() -> None:
        with torch.no_grad():
            _put_data_back(t, data)
            if value is not None:
                t.copy_(value)
            if grad is not None and slope is not None:
                _put_data_back(grad, slope)
        if t.is_leaf:
            t.requires_grad_(needed)
            t.grad = grad

    return put_back


def _put_data_back(t: Tensor, data: Tensor) -> None:
    """Its own data, where it has that of another kind now."""
    if (t.dtype, t.device, t.shape) != (data.dtype, data.device, data.shape):
        t.data = data


def _attributes(module: nn.Module) -> Callable[[], None]:
    """What puts a module's class and attributes back; containers are filled again, not replaced: handles of hooks refer to them."""
    cls, kept = type(module), dict(vars(module))
    made = parametrize.is_parametrized(module)  # then torch has made the class, for this module, and changes it
    own = dict(vars(cls)) if made else {}
    contents: list[tuple[Any, Any]] = [(v, v.copy()) for v in kept.values() if isinstance(v, (dict, set, list))]

    def put_back() -> None:
        object.__setattr__(module, "__class__", cls)
        for name in own.keys() | vars(cls).keys() if made else ():
            if name not in own:
                delattr(cls, name)
            elif vars(cls).get(name) is not own[name]:
                setattr(cls, name, own[name])
        vars(module).clear()
        vars(module).update(kept)
        for container, content in contents:
            container.clear()
            container.extend(content) if isinstance(container, list) else container.update(content)

    return put_back
