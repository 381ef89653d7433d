"""Parts of the data as batches: how many, in which order, drawn by what, and what tells them apart."""

import random
from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
)

from tnkit_nn.data.batches import check_numbers, leaves, length, mapped, moved, shapes
from tnkit_nn.data.draws import forked, kept, seed_, seeded
from tnkit_nn.data.parts import LoaderSource, as_source, limited_source

X = torch.arange(44.0).reshape(22, 2)
Y = torch.arange(22) % 3
PAIRS = TensorDataset(X, Y)


class Noisy(Dataset):
    def __len__(self):
        return 22

    def __getitem__(self, k):
        return X[k] + torch.randn(2) + np.random.randn() + random.random(), Y[k]  # noqa: NPY002


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


class Told(Stream):
    def __len__(self):
        return 22


class Places:
    """As a Hugging Face data set is: no Dataset of torch's, and what is gone through are examples."""

    def __len__(self):
        return 22

    def __getitem__(self, k):
        return {"x": X[k], "y": Y[k]}


class Batches:
    """A loader of one's own."""

    def __iter__(self):
        return iter(zip(X.split(4), Y.split(4), strict=True))


# -- counts -----------------------------------------------------------------------------------------------------------------
COUNTS = [
    ((X, Y), 4, 5, 22), (X, 30, 1, 22), ({"x": X}, 22, 1, 22), (PAIRS, 4, 6, 22), (Stream(), 4, 6, None), (Told(), 4, 6, 22),
    (Places(), 4, 6, 22), (Batches(), 9, 6, None), ([(X, Y), (X[:3], Y[:3])], 9, 2, 25), (DataLoader(PAIRS, 4), 9, 6, 22),
    (DataLoader(PAIRS, 4, drop_last=True), 9, 5, 20), (DataLoader(PAIRS, 4, sampler=RandomSampler(PAIRS, num_samples=9)), 9, 3, 9),
    (DataLoader(Subset(PAIRS, range(7)), 4), 9, 2, 7), (DataLoader(Stream(), 4), 9, 6, None), (DataLoader(Told(), 4), 9, 6, 22),
    (DataLoader(PAIRS, None), 9, 22, 22), (DataLoader(PAIRS, batch_sampler=BatchSampler(range(5), 2, False)), 9, 3, 5),
]  # fmt: skip


@pytest.mark.parametrize(("given", "size", "steps", "count"), COUNTS)
def test_how_many(given, size, steps, count):
    part = as_source(given, "it")
    assert part.steps(size) == steps and part.count == count
    batches = list(part.shuffled(size, torch.Generator().manual_seed(0)))
    assert len(batches) == steps
    assert len(list(part.loader(4))) == len(list(part.loader(4)))  # as often as it is asked


def test_tensors_are_gone_through_in_their_order():
    loader = as_source((X, Y), "it").loader(5)
    assert torch.equal(torch.cat([x for x, _ in loader]), X) and len(loader) == 5 and len(loader.dataset) == 22


# -- what is drawn ------------------------------------------------------------------------------------------------------------
def all_states():
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002


def disturb():
    torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002


ENDLESS = {
    "shuffled": lambda: DataLoader(Noisy(), 4, shuffle=True),
    "a generator": lambda: DataLoader(Noisy(), 4, shuffle=True, generator=torch.Generator().manual_seed(1)),
    "a sampler": lambda: DataLoader(
        Noisy(), 4, sampler=RandomSampler(Noisy(), generator=torch.Generator().manual_seed(1))
    ),
    "a Dataset": Noisy,
    "a stream": lambda: DataLoader(Stream(), 4),
}


def first(batches, count):
    return [x.tolist() for x, _ in islice(batches, count)]


@pytest.mark.parametrize("kind", ENDLESS)
def test_endless_batches_are_of_the_seed_alone(kind):
    """Seeds in turn, one loader for all, with other draws between them: each is as if it were alone."""
    alone = {s: first(LoaderSource(ENDLESS[kind](), "it").endless(4, s), 15) for s in (0, 1)}
    together = LoaderSource(ENDLESS[kind](), "it")
    turns = {s: together.endless(4, s) for s in (0, 1)}
    found = {0: [], 1: []}
    for _ in range(15):
        for s, batches in turns.items():
            before = all_states()
            found[s] += first(batches, 1)
            assert all_states() == before
            disturb()
    assert found == alone
    if kind != "a stream":
        assert alone[0] != alone[1] and alone[0][:6] != alone[0][6:12]  # other seeds and other passes, other orders


def test_every_pass_of_endless_batches_has_all_examples():
    batches = list(islice(LoaderSource(DataLoader(PAIRS, 4, shuffle=True), "it").endless(4, 3), 12))
    for k in (0, 6):
        assert sorted(torch.cat([x[:, 0] for x, _ in batches[k : k + 6]]).tolist()) == X[:, 0].tolist()


@pytest.mark.slow
def test_endless_batches_of_workers():
    loader = DataLoader(Noisy(), 4, shuffle=True, num_workers=1, persistent_workers=True)
    alone = {s: first(LoaderSource(loader, "it").endless(4, s), 8) for s in (0, 1)}
    turns = {s: LoaderSource(loader, "it").endless(4, s) for s in (0, 1)}
    found = {0: [], 1: []}
    for _ in range(8):
        for s, batches in turns.items():
            found[s] += first(batches, 1)
    assert found == alone


class Spent:
    def __init__(self):
        self.batches = iter([(X, Y)])

    def __iter__(self):
        return self.batches


def test_what_gives_nothing_the_second_time():
    batches = LoaderSource(Spent(), "the part 'train'").endless(4, 0)
    next(batches)
    with pytest.raises(
        ValueError, match="the part 'train' is gone through again and again, but gives no batch the second time"
    ):
        next(batches)
    with pytest.raises(ValueError, match="it has one batch or more, not none"):
        next(LoaderSource(iter(()), "it").endless(4, 0))


def test_a_pass_is_the_same_whatever_was_drawn_before():
    loader = DataLoader(Noisy(), 4, shuffle=True, generator=torch.Generator().manual_seed(1))
    part = as_source(loader, "it")

    def one(seed):
        return first(part.shuffled(4, torch.Generator().manual_seed(seed)), 9)

    again, looked = one(1), first(part.loader(), 9)
    disturb()
    loader.generator.manual_seed(99)
    assert one(1) == again != one(2) and first(part.loader(), 9) == looked


def test_a_sampler_is_told_the_epoch():
    sampler = DistributedSampler(PAIRS, num_replicas=1, rank=0, shuffle=True)
    part = as_source(DataLoader(PAIRS, 4, sampler=sampler), "it")
    orders = [str(first(part.shuffled(4, torch.Generator().manual_seed(s)), 9)) for s in (1, 2, 1)]
    assert orders[0] == orders[2] != orders[1]


def test_generators_are_put_back():
    class Holder:
        def __init__(self):
            self.torch, self.numpy = torch.Generator().manual_seed(3), np.random.default_rng(3)
            self.old, self.python = np.random.RandomState(3), random.Random(3)

        def draw(self):
            return (
                torch.rand(1, generator=self.torch).item(),
                self.numpy.random(),
                self.old.rand(),
                self.python.random(),
            )

    held, other = Holder(), Holder()
    before = all_states()
    with seeded(held, 5):
        one = held.draw(), torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002
    assert all_states() == before and held.draw() == other.draw()
    put_back = kept(held)
    seed_(5, held)
    assert (held.draw(), torch.rand(1).item(), np.random.rand(), random.random()) == one  # noqa: NPY002
    put_back()
    assert all_states() == before and held.draw() == other.draw()
    with forked():
        disturb()
    assert all_states() == before


# -- what tells parts apart -----------------------------------------------------------------------------------------------------
def digest(given):
    return as_source(given, "it").digest()


def test_digests():
    same = [
        lambda: (X, Y), lambda: DataLoader(PAIRS, 4), lambda: DataLoader(Noisy(), 4, shuffle=True), lambda: PAIRS, Stream, Places,
        lambda: [(X, Y), (X, Y), (X, Y)], lambda: DataLoader(PAIRS, 4, shuffle=True, generator=torch.Generator()),
    ]  # fmt: skip
    found = []
    for make in same:
        found.append(digest(make()))
        disturb()
        assert digest(make()) == found[-1]
    others = [
        (X + 1, Y), (X, Y + 1), (X.double(), Y), {"x": X, "y": Y}, DataLoader(PAIRS, 5), DataLoader(PAIRS, 4, drop_last=True),
        DataLoader(TensorDataset(X + 1, Y), 4), [(X, Y), (X, Y), (X, Y + 1)], [(X, Y), (X, Y)], Subset(PAIRS, range(21)),
    ]  # fmt: skip
    found += map(digest, others)
    assert len(set(found)) == len(found)


def test_a_digest_has_no_addresses_in_it():
    class Picture:
        def __init__(self, k):
            self.pixels = X[k]

    class Pictures(Dataset):
        def __len__(self):
            return 22

        def __getitem__(self, k):
            return Picture(k), "a text", None, {1, 2}

    assert digest(Pictures()) == digest(Pictures())


def test_a_data_set_whose_places_are_no_numbers():
    class Named(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, name):
            return {"a": X[0], "b": X[1]}[name]

    part = as_source(DataLoader(Named(), 2, sampler=["a", "b"]), "it")
    assert part.count == 2 and len(part.digest()) == 12


# -- fewer --------------------------------------------------------------------------------------------------------------------
def test_limits():
    part = limited_source(as_source((X, Y), "it"), 6, "limit=6")
    assert part.count == 6 and part.tree[1].bincount().tolist() == [2, 2, 2]
    assert part.tree[0][:, 0].tolist() == sorted(part.tree[0][:, 0].tolist())  # in their order
    assert limited_source(as_source((X, X), "it"), 5, "limit=5").count == 5
    data = limited_source(as_source(PAIRS, "it"), 6, "limit=6")
    assert data.count == 6 and len(list(data.loader(2))) == 3
    assert limited_source(as_source(PAIRS, "it"), 99, "limit=99").count == 22
    for given in (DataLoader(PAIRS, 4), Stream(), [(X, Y)] * 3):
        with pytest.raises(ValueError, match="limit=6 is for tensors and Datasets; a "):
            limited_source(as_source(given, "it"), 6, "limit=6")


# -- batches --------------------------------------------------------------------------------------------------------------------
Pair = namedtuple("Pair", "x y")


@dataclass(frozen=True)
class Record:
    x: torch.Tensor
    note: str


class Meant(OrderedDict):
    """As the outputs of Hugging Face models are."""


BATCHES = [
    X, (X, Y), [X, [Y, None]], {"x": X, "y": (Y, "a")}, Pair(X, Y), Record(X, "a"), UserDict(x=X, y=Y), Meant(x=X, y=Y),
    MappingProxyType({"x": X, "y": Y}), {"a": [Record(X, "b"), Pair(Y, 3)]},
]  # fmt: skip


@pytest.mark.parametrize("batch", BATCHES)
def test_batches_are_moved_whole(batch):
    there = moved(batch, torch.device("meta"))
    before, after = list(leaves(batch)), list(leaves(there))
    assert [p for p, _ in before] == [p for p, _ in after]
    assert all(x.is_meta for _, x in after if isinstance(x, torch.Tensor))
    assert [x for _, x in before if not isinstance(x, torch.Tensor)] == [
        x for _, x in after if not isinstance(x, torch.Tensor)
    ]
    assert type(there) is (dict if isinstance(batch, MappingProxyType) else type(batch))
    assert not next(x for _, x in before if isinstance(x, torch.Tensor)).is_meta and length(batch) == 22


def test_what_moves_itself():
    packed = moved(pack_sequence([X[0], X[1]]), torch.device("cpu"))
    assert torch.equal(packed.data, torch.stack([X[0], X[1]], 1).flatten())

    class Graph:
        def __init__(self):
            self.where = None

        def to(self, device):
            self.where = device
            return self

    assert moved([Graph()], torch.device("cpu"))[0].where == torch.device("cpu")
    assert mapped(lambda x: 2 * x, {"a": (1, 2)}) == {"a": (2, 4)}


def test_batches_in_words_and_in_numbers():
    assert (
        shapes({"x": X, "y": [Y, None], "n": torch.tensor(1.0)})
        == "{x: float32 22x2, y: (int64 22, NoneType), n: float32 number}"
    )
    assert shapes((X,) * 6) == "(float32 22x2, float32 22x2, float32 22x2, float32 22x2, 2 more)"
    assert length(("a", 3)) == 1 and length({"n": torch.tensor(1.0), "x": X}) == 22
    check_numbers(BATCHES[3], "it")
    wrong = X.clone()
    wrong[3, 1] = torch.inf
    for batch, place in (
        ({"a": (Y, wrong)}, r"it\['a'\]\[1\]"),
        (UserDict(x=wrong), r"it\['x'\]"),
        (Record(wrong, ""), r"it\.x"),
    ):
        with pytest.raises(ValueError, match=place + r" is finite everywhere, but its entry \(3, 1\) is inf"):
            check_numbers(batch, "it")
    check_numbers(wrong.to_sparse(), "it")  # what is not stored is zero; its values are the loss's matter
    with pytest.raises(ValueError, match=r"^it has one example or more, not none, \(float32 0x2, int64 0\)$"):
        check_numbers((X[:0], Y[:0]), "it, ")  # a mean over none is no number
