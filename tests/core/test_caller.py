"""A warning names the line that called us, by whichever way of ours it came."""

from concurrent.futures import Executor, Future

import networkx as nx
import numpy as np
import pytest

import tnkit as tk

NET = tk.ring((2,) * 6, 2)
HUGE = {n: 1e100 * a for n, a in tk.init.normal(NET, seed=0).items()}
BELL = NET.activate(lambda xp, x: xp.exp(-x * x), "bell")
GRAPH = tk.from_graph(nx.random_regular_graph(3, 16, seed=1), bond=3)
ORDINARY = tk.init.normal(GRAPH, seed=0)
SLICED = tk.plan(GRAPH, "greedy", slices=20)


class Broken(Executor):
    """Its workers are all lost."""

    def submit(self, *task):
        future = Future()
        future.set_exception(OSError("no worker"))
        return future


WAYS = {
    "a network": lambda: tk.contract(NET, HUGE),
    "a decomposition": lambda: tk.contract(tk.Decomposition(NET, HUGE, 0.0)),
    "inner": lambda: tk.inner(NET, HUGE, NET, HUGE),
    "norm": lambda: tk.norm(NET, HUGE),
    "contract_approx": lambda: tk.contract_approx(NET, HUGE, max_bond=8),
    "messages": lambda: tk.contract_approx(GRAPH, ORDINARY, method="bp", rounds=1, strip_exponent=True),
    "an argument": lambda: tk.contract(BELL, HUGE),
    "an argument, in full": lambda: tk.contract(BELL, HUGE, strip_exponent=True),
    "a lost worker": lambda: tk.run(SLICED, ORDINARY, executor=Broken()),
    "a lost worker, in full": lambda: tk.run(SLICED, ORDINARY, executor=Broken(), strip_exponent=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_warning_stands_at_the_callers_line(way):
    with pytest.warns(RuntimeWarning) as told, np.errstate(all="ignore"):
        WAYS[way]()
    assert {w.filename for w in told} == {__file__}
