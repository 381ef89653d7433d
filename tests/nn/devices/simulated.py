"""A second device that no machine has to have: its tensors lie on the processor, and are refused beside those of the processor.

torch's place for devices of others, in Python.  As on CUDA a number (a tensor without axes) of the processor may stand in pointwise
operations, and positions of the processor may pick entries; a generator of the processor draws nothing there.  Without double
precision it is as Apple's.  It stays for the life of a process, so that tests run it in one of their own.
"""

import torch
from torch.utils._python_dispatch import return_and_correct_aliasing

__all__ = ["READS", "Simulated", "begin", "forbid_doubles"]

aten = torch.ops.aten
MOVES = {aten.copy_.default, aten._to_copy.default}
PICKS = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
WAITS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default}
DOUBLES = (torch.float64, torch.complex128)
#: What made the processor wait for the device.
READS = []
_forbidden = []


class Simulated(torch.Tensor):
    """A tensor of the device; ``elem`` has its values."""

    @staticmethod
    def __new__(cls, elem):
        options = dict(strides=elem.stride(), storage_offset=elem.storage_offset(), dtype=elem.dtype)
        return torch.Tensor._make_wrapper_subclass(cls, elem.size(), device="gpu:0", **options)

    def __init__(self, elem):
        self.elem = elem

    def numpy(self, *, force=False):
        if not force:
            raise TypeError("can't convert gpu:0 device type tensor to numpy")
        return self.detach().cpu().numpy()

    def __array__(self, *args, **kwargs):
        return self.numpy()

    def tolist(self):
        return self.detach().cpu().tolist()

    def __repr__(self, **kwargs):
        return f"Simulated({self.elem})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [*tensors_of((args, kwargs))]
        _check(func, args, kwargs, given)
        to = kwargs.get("device")
        there = any(isinstance(x, Simulated) for x in given) if to is None else torch.device(to).type == "gpu"
        there = isinstance(args[0], Simulated) if func is aten.copy_.default else there
        if func in WAITS or (func in MOVES and not there):
            READS.append(str(func))
        kwargs = kwargs if to is None else {**kwargs, "device": torch.device("cpu")}
        found = func(*mapped(values, args), **mapped(values, kwargs))
        if not there:
            return found
        made = mapped(Simulated, found)
        if _forbidden and any(isinstance(x, Simulated) and x.dtype in DOUBLES for x in tensors_of(made)):
            raise TypeError(f"the device has no double precision: {func}")
        return return_and_correct_aliasing(func, args, kwargs, made)


def tensors_of(x):
    """The tensors of arguments or results: torch's operations have them alone and in lists (a walk over trees costs three times as much)."""
    if isinstance(x, torch.Tensor):
        yield x
    elif isinstance(x, (list, tuple, dict)):
        for part in x.values() if isinstance(x, dict) else x:
            yield from tensors_of(part)


def mapped(function, x):
    """The same with a function of each tensor."""
    if isinstance(x, torch.Tensor):
        return function(x)
    if isinstance(x, dict):
        return {name: mapped(function, part) for name, part in x.items()}
    return type(x)([mapped(function, part) for part in x]) if isinstance(x, (list, tuple)) else x


def values(x):
    return x.elem if isinstance(x, Simulated) else x


def _check(func, args, kwargs, given):
    if func in MOVES or not any(isinstance(x, Simulated) for x in given):
        return
    if kwargs.get("generator") is not None:
        raise RuntimeError("Expected a 'gpu' device type for generator but found 'cpu'")
    for x in given:
        number = x.dim() == 0 and (torch.Tag.pointwise in func.tags or func in PICKS)
        positions = func in PICKS and not x.is_floating_point() and x is not args[0]
        if not (isinstance(x, Simulated) or number or positions):
            raise RuntimeError(f"tensors of {func} are on one device, but found gpu:0 and {x.device}")


def _empty(size, *, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
    return Simulated(torch.empty(size, dtype=dtype, device="cpu", memory_format=memory_format))


def _empty_strided(size, stride, *, dtype=None, layout=None, device=None, pin_memory=None):
    return Simulated(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def _copy_from(x, to, non_blocking=False):
    if _forbidden and isinstance(to, Simulated) and to.dtype in DOUBLES:
        raise TypeError("the device has no double precision")
    values(to).copy_(values(x))
    return to


def begin():
    """Make the device; what is given back keeps it."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend("gpu")
    library = torch.library.Library("aten", "IMPL")
    for name, function in (
        ("empty.memory_format", _empty),
        ("empty_strided", _empty_strided),
        ("_copy_from", _copy_from),
    ):
        library.impl(name, function, "PrivateUse1")
    return library


def forbid_doubles():
    """From now on the device has no double precision."""
    _forbidden.append(True)
