"""Memory of large tensors is given out again once no tensor reads it, and never before."""

import pytest
import torch

import tnkit as tk
from tnkit.execution.inputs import check_arrays
from tnkit.planning import fusion
from tnkit.planning.planner import _plan
from tnkit.planning.steps import FusedStep
from tnkit_nn.engine import pages

LIKE = torch.empty(0)
ENTRIES = 2**8


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A kilobyte is large here."""
    monkeypatch.setattr(pages, "_MAPPED", 4 * ENTRIES)
    monkeypatch.setattr(pages, "_MOST_KEPT", 3 * 4 * ENTRIES)
    monkeypatch.setattr(pages, "_KEPT", [])


def test_memory_that_no_tensor_reads_is_given_out_again():
    x = pages.empty((ENTRIES,), LIKE)
    address = x.data_ptr()
    del x
    again = pages.empty((2, ENTRIES // 4, 2), LIKE)
    assert again.data_ptr() == address and again.shape == (2, ENTRIES // 4, 2)


@pytest.mark.parametrize(
    "reader",
    [
        lambda x: x,
        lambda x: x[3:5],
        lambda x: x.detach().view(2, -1).T,
        lambda x: x.numpy(),
        lambda x: torch.nn.Parameter(x),
        lambda x: (x * torch.ones((), requires_grad=True)).grad_fn,  # what autograd keeps for backward
    ],
)
def test_memory_that_is_read_is_never_given_out(reader):
    x = pages.empty((ENTRIES,), LIKE)
    address, kept = x.data_ptr(), reader(x)
    del x
    assert pages.empty((ENTRIES,), LIKE).data_ptr() != address
    del kept
    assert address in {pages.empty((ENTRIES,), LIKE).data_ptr() for _ in range(3)}


def test_another_thread_may_empty_what_is_kept(monkeypatch):
    class Emptied(list):
        def __iter__(self):
            yield from tuple(super().__iter__())
            self.clear()

    monkeypatch.setattr(pages, "_KEPT", Emptied())
    alive = [pages.empty((ENTRIES,), LIKE) for _ in range(4)]
    monkeypatch.setattr(pages, "_MOST_KEPT", 4 * ENTRIES)
    pages._KEPT.extend(x.numpy() for x in alive)
    assert len(pages.empty((ENTRIES,), LIKE)) == ENTRIES


def test_so_many_bytes_are_kept_at_most():
    alive = [pages.empty((ENTRIES,), LIKE) for _ in range(7)]
    assert len({x.data_ptr() for x in alive}) == 7
    assert sum(x.nbytes for x in pages._KEPT) <= pages._MOST_KEPT
    assert len(pages.empty((4 * ENTRIES,), LIKE)) == 4 * ENTRIES  # larger than all that is kept: kept by no one
    assert all(x.nbytes == 4 * ENTRIES for x in pages._KEPT)


def test_results_and_gradients_of_a_plan_stay_what_they_were(monkeypatch):
    for name, value in dict(LARGE=2**8, SLICE=2**7, LEAST_SLICE=2**6, _NEIGHBOURS=1).items():
        monkeypatch.setattr(fusion, name, value)
    net = tk.brick_wall(10, 2, 2, "tanh")
    monkeypatch.setattr(pages, "_MOST_KEPT", 3 * 4 * 2**10)
    plan = _plan(net, "auto", 4, None)
    assert any(isinstance(step, FusedStep) and step.chain for step in plan.steps)
    found, right = [], []
    for seed in range(3):  # each call takes what the ones before left free
        arrays = {n: torch.as_tensor(a) for n, a in tk.init.normal(net, seed=seed, dtype="float32").items()}
        arrays = {n: x.requires_grad_() for n, x in check_arrays(net, arrays).items()}
        made = tk.run(plan, arrays)
        wanted = [x for x in arrays.values() if x.requires_grad]
        found.append((made, *torch.autograd.grad(made.square().sum(), wanted)))
        right.append([x.detach().clone() for x in found[-1]])
    assert pages._KEPT
    for ours, want in zip(found, right, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, want, strict=True))
