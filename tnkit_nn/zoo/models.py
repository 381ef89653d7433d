"""The models: sequences of named layers, small images in and logits out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from tnkit.core.checks import sequence
from tnkit.core.numbers import real_number
from tnkit_nn.checks import a_size

__all__ = ["MLP", "alexnet", "fc2", "lenet5", "mlp", "vgg16", "zfnet"]

VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


class MLP(nn.Sequential):
    """Linear layers ``fc1, fc2, ...`` with ReLU between them; inputs (batch, ...) of sizes[0] numbers, logits (batch, sizes[-1]).

    >>> model = tknn.zoo.MLP((64, 32, 10))
    >>> model(torch.zeros(5, 8, 8)).shape, [name for name, _ in model.named_parameters()]
    (torch.Size([5, 10]), ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias'])
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        sizes = [a_size(n, f"MLP: sizes[{k}]") for k, n in enumerate(sequence(sizes, "MLP: sizes"))]
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes are two or more, inputs and classes at least, not {sizes}")
        super().__init__(_linear_stack(sizes))


def mlp(num_classes: int = 10) -> MLP:
    """64 -> 64 -> 10, for scikit-learn's digits; the largest layer, ``fc1``, has 4,096 weights.

    >>> model = tknn.zoo.mlp()
    >>> model.fc1.weight.numel(), model(torch.zeros(2, 64)).shape
    (4096, torch.Size([2, 10]))

    Raises
    ------
    TypeError, ValueError
        ``num_classes`` is no whole number of at least 1.
    """
    return MLP((64, 64, _classes(num_classes)))


def fc2(num_classes: int = 10) -> MLP:
    """FC-2 for MNIST, images (batch, 1, 28, 28): 784 -> 512 -> 10 with ReLU.

    >>> model = tknn.zoo.fc2()
    >>> sum(p.numel() for p in model.parameters()), model(torch.zeros(2, 1, 28, 28)).shape
    (407050, torch.Size([2, 10]))

    407,050 parameters; ``fc1`` has 401,408 weights, ``fc2`` 5,120.

    Raises
    ------
    TypeError, ValueError
        ``num_classes`` is no whole number of at least 1.
    """
    return MLP((784, 512, _classes(num_classes)))


def lenet5(num_classes: int = 10, widths: tuple[int, int, int, int] = (6, 16, 120, 84)) -> nn.Sequential:
    """LeNet-5 for MNIST, images (batch, 1, 28, 28), with ReLU and max pooling.

    >>> model = tknn.zoo.lenet5()
    >>> sum(p.numel() for p in model.parameters()), model(torch.zeros(2, 1, 28, 28)).shape
    (61706, torch.Size([2, 10]))
    >>> sum(p.numel() for p in tknn.zoo.lenet5(widths=(3, 8, 60, 42)).parameters())  # a narrower one
    15738

    61,706 parameters; in weights::

        conv1  1 ->  6, 5x5, padding 2      150    then pooled to  6 x 14 x 14
        conv2  6 -> 16, 5x5               2,400    then pooled to 16 x  5 x  5
        fc1    400 -> 120                48,000
        fc2    120 -> 84                 10,080
        fc3     84 -> classes               840

    ``widths``: channels and features of a narrower or wider one, which a compressed one has to beat at an equal count.

    Raises
    ------
    TypeError, ValueError
        ``num_classes`` is no whole number of at least 1, or ``widths`` are not four of them.
    """
    num_classes = _classes(num_classes)
    sizes = [a_size(n, f"lenet5: widths[{k}]") for k, n in enumerate(sequence(widths, "lenet5: widths"))]
    if len(sizes) != 4:
        raise ValueError(f"lenet5: widths are four, of two convolutions and two linear layers, not {len(sizes)}")
    one, two, *features = sizes
    layers = {
        "conv1": nn.Conv2d(1, one, 5, padding=2), "relu_conv1": nn.ReLU(), "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(one, two, 5), "relu_conv2": nn.ReLU(), "pool2": nn.MaxPool2d(2),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers) | _linear_stack((25 * two, *features, num_classes)))


def alexnet(num_classes: int = 10) -> nn.Sequential:
    """AlexNet for 32x32 images (batch, 3, 32, 32): its five convolutions with smaller kernels, steps and pools.

    >>> with torch.device("meta"):  # shapes alone, without values
    ...     model = tknn.zoo.alexnet()
    >>> sum(p.numel() for p in model.parameters()), model(torch.zeros(2, 3, 32, 32, device="meta")).shape
    (23471946, torch.Size([2, 10]))

    Without local response normalisation and dropout: weight decay, label smoothing and augmentation stand in for them (see
    ``TRAIN``).  23,471,946 parameters with ten classes; in weights::

        conv1    3 ->  64, 5x5, stride 2        4,800    then pooled to  64 x 8 x 8
        conv2   64 -> 192, 5x5                307,200    then pooled to 192 x 4 x 4
        conv3  192 -> 384, 3x3                663,552
        conv4  384 -> 256, 3x3                884,736
        conv5  256 -> 256, 3x3                589,824    then pooled to 256 x 2 x 2
        fc1   1024 -> 4096                  4,194,304
        fc2   4096 -> 4096                 16,777,216
        fc3   4096 -> classes                  40,960

    Raises
    ------
    TypeError, ValueError
        ``num_classes`` is no whole number of at least 1.
    """
    num_classes = _classes(num_classes)
    convs = ((3, 64, 5, 2, True), (64, 192, 5, 1, True), (192, 384, 3, 1, False), (384, 256, 3, 1, False))
    return _scaled(
        nn.Sequential(_convs((*convs, (256, 256, 3, 1, True))) | _linear_stack((1024, 4096, 4096, num_classes)))
    )


def zfnet(num_classes: int = 10) -> nn.Sequential:
    """ZFNet for 32x32 images (batch, 3, 32, 32): AlexNet seen at full resolution first, with the second convolution strided.

    >>> with torch.device("meta"):  # shapes alone, without values
    ...     model = tknn.zoo.zfnet()
    >>> sum(p.numel() for p in model.parameters()), model(torch.zeros(2, 3, 32, 32, device="meta")).shape
    (24735626, torch.Size([2, 10]))

    Without contrast normalisation and dropout, as :func:`alexnet`.  24,735,626 parameters with ten classes; in weights::

        conv1    3 ->  96, 3x3                  2,592    then pooled to  96 x 16 x 16
        conv2   96 -> 256, 5x5, stride 2      614,400    then pooled to 256 x  4 x  4
        conv3  256 -> 384, 3x3                884,736
        conv4  384 -> 384, 3x3              1,327,104
        conv5  384 -> 256, 3x3                884,736    then pooled to 256 x  2 x  2
        fc1   1024 -> 4096                  4,194,304
        fc2   4096 -> 4096                 16,777,216
        fc3   4096 -> classes                  40,960

    Raises
    ------
    TypeError, ValueError
        ``num_classes`` is no whole number of at least 1.
    """
    num_classes = _classes(num_classes)
    convs = ((3, 96, 3, 1, True), (96, 256, 5, 2, True), (256, 384, 3, 1, False), (384, 384, 3, 1, False))
    return _scaled(
        nn.Sequential(_convs((*convs, (384, 256, 3, 1, True))) | _linear_stack((1024, 4096, 4096, num_classes)))
    )


def vgg16(num_classes: int = 10, scale: float = 1.0) -> nn.Sequential:
    """VGG-16 with batch normalisation for 32x32 images (batch, 3, 32, 32).

    >>> with torch.device("meta"):  # shapes alone, without values
    ...     model, narrow = tknn.zoo.vgg16(), tknn.zoo.vgg16(scale=0.25)
    >>> sum(p.numel() for p in model.parameters()), narrow.features[0].weight.shape
    (33642442, torch.Size([16, 3, 3, 3]))

    ``features`` are thirteen 3x3 convolutions (padding 1, no bias), each with batch normalisation and ReLU, and five pools:
    64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M, 14,710,464 weights.  33,642,442 parameters with ten classes; in
    weights of the head::

        classifier.0    512 -> 4096        2,097,152
        classifier.2   4096 -> 4096       16,777,216
        classifier.4   4096 -> classes        40,960

    ``scale``: of the convolutions' channels, for a narrower or wider one (at least one channel each).

    Raises
    ------
    TypeError, ValueError
        ``num_classes`` is no whole number of at least 1, or ``scale`` no positive number.
    """
    num_classes, scale = _classes(num_classes), real_number(scale, "vgg16: scale")
    features: list[nn.Module] = []
    channels = 3
    for out in VGG16:
        if isinstance(out, str):
            features.append(nn.MaxPool2d(2))
        else:
            width = max(1, round(scale * out))
            conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            features += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
    head = (nn.Linear(channels, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, num_classes))
    parts = {"features": nn.Sequential(*features), "flatten": nn.Flatten(), "classifier": nn.Sequential(*head)}
    return nn.Sequential(OrderedDict(parts))


def _classes(num_classes: int) -> int:
    return a_size(num_classes, "num_classes")


def _linear_stack(sizes: Sequence[int]) -> OrderedDict[str, nn.Module]:
    """flatten, fc1, relu1, fc2, ...: no activation after the last."""
    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
    for k in range(1, len(sizes)):
        layers[f"fc{k}"] = nn.Linear(sizes[k - 1], sizes[k])
        if k < len(sizes) - 1:
            layers[f"relu{k}"] = nn.ReLU()
    return layers


def _convs(layers: Sequence[tuple[int, int, int, int, bool]]) -> OrderedDict[str, nn.Module]:
    """conv1, relu_conv1, pool1, ...: (in, out, kernel, stride, whether a pool follows)."""
    named = OrderedDict[str, nn.Module]()
    for k, (channels, out, kernel, stride, pooled) in enumerate(layers, 1):
        named[f"conv{k}"] = nn.Conv2d(channels, out, kernel, stride, kernel // 2)
        named[f"relu_conv{k}"] = nn.ReLU()
        if pooled:
            named[f"pool{k}"] = nn.MaxPool2d(2)
    return named


def _scaled(model: nn.Sequential) -> nn.Sequential:
    """He's normal start values, biases zero: torch's own shrink the signal layer by layer, and what has no normalisation stands still."""
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if layer is layers[-1] else "relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return model
