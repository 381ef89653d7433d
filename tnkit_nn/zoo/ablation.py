"""Models with layers left out: what a compressed layer has to beat."""

from __future__ import annotations

from torch import nn

from tnkit.core.checks import text
from tnkit_nn.adapter.copies import copied
from tnkit_nn.checks import a_module

__all__ = ["without"]


def without(model: nn.Module, *layers: str) -> nn.Module | None:
    """The model with linear layers and their activations left out: the linear layer after them takes their input.

    >>> model = tknn.zoo.MLP((64, 32, 16, 10))
    >>> shorter = tknn.zoo.without(model, "fc2")
    >>> [name for name, _ in shorter.named_parameters()], shorter.fc3.weight.shape
    (['fc1.weight', 'fc1.bias', 'fc3.weight', 'fc3.bias'], torch.Size([10, 32]))
    >>> tknn.zoo.without(model, "fc3") is None  # nothing would take its output
    True

    Parameters
    ----------
    model
        It is left alone; what the two have in common is copied, names and values, and only a layer whose input changes is drawn
        anew.
    *layers
        Names of ``nn.Linear`` layers in an ``nn.Sequential``, such as "fc1" or "classifier.0".

    Returns
    -------
    nn.Module or None
        None where a layer cannot be left out so: it is no linear layer, or none follows that takes its output.

    Raises
    ------
    ValueError
        The model has no such layer.
    """
    known = dict(a_module(model, "without: model").named_modules())
    for layer in layers:
        if text(layer, "without: a layer") not in known:
            linear = ", ".join(n for n, m in known.items() if isinstance(m, nn.Linear))
            raise ValueError(f"the model has no layer {layer!r}; its linear layers are {linear}")
    model = copied(model, "without: model")
    for layer in layers:
        path, _, name = layer.rpartition(".")
        parent = model.get_submodule(path)
        if not isinstance(parent, nn.Sequential) or not _leave_out(parent, name):
            return None
    return model


def _leave_out(parent: nn.Sequential, name: str) -> bool:
    """Take a linear layer and what follows up to the next one out; False, and nothing done, where that cannot be."""
    gone, members = getattr(parent, name), [(n, m) for n, m in parent._modules.items() if m is not None]
    after = members[[n for n, _ in members].index(name) + 1 :]
    k = next((k for k, (_, m) in enumerate(after) if isinstance(m, nn.Linear)), None)
    if not isinstance(gone, nn.Linear) or k is None or any(True for _, m in after[:k] for _ in m.parameters()):
        return False
    following, (heir, old) = after[:k], after[k]
    if not isinstance(old, nn.Linear) or old.in_features != gone.out_features:
        return False
    for leaf, _ in [(name, gone), *following]:
        delattr(parent, leaf)  # not del parent[k], which would number the others anew
    weight = old.weight
    new = nn.Linear(
        gone.in_features, old.out_features, old.bias is not None, device=weight.device, dtype=weight.dtype
    )  # fmt: skip
    setattr(parent, heir, new.train(old.training))
    return True
