"""Many threads at one network: what they share (plans, the code of programs, properties made once) is right for each of them."""

import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tnkit as tk

THREADS, ROUNDS = 8, 60


@pytest.fixture
def often():
    """Threads take turns every few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def dense(net, arrays):
    """The tensor by numpy alone."""
    number = {i: k for k, i in enumerate(net.sizes)}
    operands = [x for n in net.nodes for x in (arrays[n.array], [number[i] for i in n.inds])]
    return np.einsum(*operands, [number[i] for i in net.output])


def _asked(net, arrays, want):
    plan = tk.plan(net)
    return plan.peak > 0 and plan.peak_backward > 0 and plan.bytes_moved > 0 and len(plan.timeline) and str(plan)


WAYS = {
    "contract": lambda net, arrays, want: np.allclose(tk.contract(net, arrays), want),
    "again": lambda net, arrays, want: all(np.allclose(tk.run(tk.plan(net), arrays), want) for _ in range(3)),
    "slices": lambda net, arrays, want: np.allclose(tk.run(tk.plan(net, slices=2), arrays), want),
    "norm": lambda net, arrays, want: np.isclose(tk.norm(net, arrays), np.linalg.norm(want)),
    "asked": _asked,
    "pickled plan": lambda net, arrays, want: pickle.loads(pickle.dumps(tk.plan(net))) == tk.plan(net),
    "pickled slices": lambda net, arrays, want: pickle.loads(pickle.dumps(tk.plan(net, slices=2))).flops > 0,
    "pickled network": lambda net, arrays, want: pickle.loads(pickle.dumps(net)) == net and repr(net),
}


@pytest.mark.slow
def test_threads_at_one_network(often):
    """A new network in every round, so that nothing of it is known to any thread."""
    begin, wrong = threading.Barrier(THREADS), []

    def work(name, net, arrays, want):
        begin.wait()
        if not WAYS[name](net, arrays, want):
            wrong.append((name, net))

    with ThreadPoolExecutor(THREADS) as pool:
        for k in range(ROUNDS):
            build = (tk.tt, tk.cp)[k % 2]
            net = build((2 + k % 3, 3, 2, 2 + k // 3 % 4), 2 + k // 12)
            arrays = tk.init.normal(net, seed=k)
            want = dense(net, arrays)
            for future in [pool.submit(work, name, net, arrays, want) for name in WAYS]:
                future.result()
    assert not wrong


def test_threads_ask_einsum_at_once(often):
    """More equations than threads, each many times: a cache may be full at any of them."""
    rng = np.random.default_rng(0)
    cases = []
    for n in range(2, 14):
        a, b, c = rng.normal(size=(n, 3)), rng.normal(size=(3, n + 1)), rng.normal(size=(n + 1, 2))
        cases.append(((a, b, c), a @ b @ c))

    def work(k):
        arrays, want = cases[k % len(cases)]
        return np.allclose(tk.einsum("ij,jk,kl->il", *arrays), want)

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(work, range(600)))
