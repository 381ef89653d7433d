"""Small models of the kinds that people have: drawn from a seed, in evaluation mode, with an input each."""

import torch
from torch import nn

__all__ = ["MODELS", "Block", "Gpt", "Resnet", "Tagger", "transformer"]


class Block(nn.Module):
    """A residual block of a prime number of channels."""

    def __init__(self, channels=97):
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(channels, 89, 3, padding=1, bias=False), nn.BatchNorm2d(89)
        self.conv2 = nn.Conv2d(89, channels, 1)

    def forward(self, x):
        return x + self.conv2(torch.relu(self.norm(self.conv1(x))))


class Resnet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.block, self.head = nn.Conv2d(3, 97, 3, padding=1), Block(), nn.Linear(97, 10)

    def forward(self, x):
        return self.head(self.block(self.stem(x)).mean((2, 3)))


class Gpt(nn.Module):
    """A decoder whose output is its embedding."""

    def __init__(self, tokens=67, width=32, padding=None):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(tokens, width, padding_idx=padding), nn.Embedding(16, width)
        self.layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True)
        self.head = nn.Linear(width, tokens, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        return self.head(self.layer(x))


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(53, 24, padding_idx=0)
        self.rnn = nn.LSTM(24, 32, num_layers=2, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(64, 11)

    def forward(self, tokens):
        return self.tags(self.rnn(self.embedding(tokens))[0])


def transformer():
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


#: Name -> a model's function and an input's.
MODELS = {
    "transformer": (transformer, lambda: torch.randn(2, 7, 32)),
    "resnet": (Resnet, lambda: torch.randn(2, 3, 8, 8)),
    "gpt": (Gpt, lambda: torch.randint(67, (2, 9))),
    "lstm": (Tagger, lambda: torch.randint(53, (2, 9))),
}
