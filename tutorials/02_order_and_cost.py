# %% [markdown]
# # 2. Order and cost
#
# A network says *what* is computed. It does not say in which order. All orders give the same result, and their costs can differ by
# many powers of ten. This tutorial shows why. It reads a plan, and contracts with less memory.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np

import tnkit as tk

OUT = Path("out/tutorials")
OUT.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)


def picture(drawn, name):
    """Keep a picture as a PNG file. A notebook shows what is returned."""
    figure = drawn.get_figure()
    figure.savefig(OUT / f"{name}.png", dpi=120)
    plt.close(figure)
    return figure


# %% [markdown]
# ## Two matrices and a vector
#
# `(A @ B) @ v` multiplies two matrices first. `A @ (B @ v)` never does. For n x n matrices, the first takes about n^3 multiplications and the second about n^2.
#
# A path names the pairs to contract by their positions. What is contracted leaves the list, and its result goes to the end.

# %%
n = 100
net = tk.Network([tk.Node("A", "ij"), tk.Node("B", "jk"), tk.Node("v", "k")], "i", dict(i=n, j=n, k=n))
matrices_first = tk.plan(net, [(0, 1), (0, 1)])
vector_first = tk.plan(net, [(1, 2), (0, 1)])
print(f"(A B) v: {matrices_first.flops:,} FLOPs")
print(f"A (B v): {vector_first.flops:,} FLOPs")
assert matrices_first.flops == 2 * n**3 + 2 * n**2 and vector_first.flops == 4 * n**2

# %% [markdown]
# A multiplication and an addition count as two operations (FLOPs).
#
# ## A plan
#
# Without a path, `plan` searches for a good order. A **plan** is the network, an order, and the list of array operations that follows.
# Print it to read what will be done and what it costs. The **peak** is the most memory that it needs at one time.
# Draw it to see the order as numbers.

# %%
chosen = tk.plan(net)
print(chosen)
assert chosen.flops == vector_first.flops
picture(tk.draw(chosen), "02_plan")

# %% [markdown]
# A plan runs on any arrays of the right shapes. `contract` is plan and run in one call.

# %%
arrays = {name: rng.standard_normal(shape) for name, shape in net.array_shapes.items()}
assert np.allclose(tk.run(chosen, arrays), arrays["A"] @ arrays["B"] @ arrays["v"])
assert np.allclose(tk.run(matrices_first, arrays), tk.contract(net, arrays))

# %% [markdown]
# ## The norm of a long chain
#
# A matrix product state is a chain with one open index at each site. Its squared norm joins the chain to a copy of itself.
# `relabel` gives the copy names of its own. The arrays keep their names, so both halves share them. In the picture, nodes of one colour share an array.

# %%
psi = tk.mps((2,) * 16, rank=4)
copy = psi.relabel(inds=lambda i: i if i in psi.output else i + "'", nodes=lambda name: name + "'")
norm = psi.join(copy, on=psi.output)
assert norm.shape == () and norm.num_params == psi.num_params
picture(tk.draw(tk.plan(norm)), "02_norm")

# %% [markdown]
# An obvious order contracts the chain, then the copy, then both. It goes through a tensor with all open indices: 2^16 entries.
# A better order starts at one end and takes one site and its copy after another, as one closes a zipper.
#
# An optimiser is a function that returns a path. So the obvious order is quickly written.


# %%
def in_the_order_written(inputs, output, sizes, memory_limit):
    """The whole chain, then the whole copy, then both."""
    half = tuple(range(len(inputs) // 2))
    return [half, half, (0, 1)]


def zipper(inputs, output, sizes, memory_limit):
    """A site, its copy, the next site, its copy: each is contracted with what is there already."""
    sites = len(inputs) // 2
    names = list(range(2 * sites))  # which input stands at each position
    path, order = [], [k for pair in zip(range(sites), range(sites, 2 * sites), strict=True) for k in pair]
    done = order[0]
    for k in order[1:]:
        path.append(tuple(sorted((names.index(done), names.index(k)))))
        names = [name for name in names if name not in (done, k)] + [done]
    return path


# %% [markdown]
# Now the comparison. `tk.OPTIMIZERS` has the optimisers that come with the package.

# %%
plans = {"as written": tk.plan(norm, in_the_order_written), "zipper": tk.plan(norm, zipper)}
plans |= {name: tk.plan(norm, name) for name in tk.OPTIMIZERS}
print(f"{'order':>14} {'FLOPs':>12} {'largest array':>14} {'peak bytes':>12}")
for name, plan in plans.items():
    print(f"{name:>14} {plan.flops:12,} {plan.largest:14,} {plan.peak:12,}")
assert plans["as written"].largest == 2**16 and plans["zipper"].largest < 100
assert max(plans[name].flops for name in ("zipper", *tk.OPTIMIZERS)) < plans["as written"].flops / 50

# %% [markdown]
# `auto` goes by the predicted time, so it may take a few more FLOPs than the smallest count. All plans give the same number.

# %%
state = tk.init.normal(psi, seed=0)
expected = np.sum(tk.contract(psi, state) ** 2)
for plan in plans.values():
    assert np.isclose(tk.run(plan, state), expected)

# %% [markdown]
# ## Step by step
#
# `view` makes a page that goes through a contraction: the pair that merges, the bonds that are summed, the memory at each step.
# Here are both orders. Under "your own" you choose the pairs yourself, and compare with the best order.

# %%
viewer = tk.view(plans["as written"], plans["zipper"], names=["as written", "zipper"])
print("open in a browser:", viewer.save(OUT / "02_orders.html"))
viewer

# %% [markdown]
# ## Chains are easy, grids are hard
#
# The zipper holds a few bonds at a time, however long the chain is. A grid of n x n nodes has to be cut across n bonds.
# So its largest array grows as 2^n, in the best order too. The shape of the network sets what any order can reach.

# %%
widths = range(2, 13)
grids = [tk.plan(tk.from_graph(nx.grid_2d_graph(k, k), bond=2), "greedy") for k in widths]
chains = [tk.plan(tk.from_graph(nx.path_graph(k * k), bond=2), "greedy") for k in widths]
figure, ax = plt.subplots(figsize=(5, 3.2), constrained_layout=True)
ax.semilogy([k * k for k in widths], [p.largest for p in grids], "o-", label="n x n grid")
ax.semilogy([k * k for k in widths], [p.largest for p in chains], "s-", label="chain of as many nodes")
ax.set(xlabel="nodes", ylabel="entries of the largest array")
ax.legend()
print("largest array, grid:", [p.largest for p in grids])
assert chains[-1].largest <= 4 and grids[-1].largest >= 2**10
picture(figure, "02_grids")

# %% [markdown]
# ## When memory is the limit
#
# A limit in bytes makes the plan slice some indices. It then runs once for each of their values, and adds the results.
# Less memory mostly costs more operations. The plan says how many.

# %%
wide = tk.from_graph(nx.random_regular_graph(3, 30, seed=1), bond=6)
free = tk.plan(wide)
table = []
for part in (1.0, 0.5, 0.3):
    sliced = tk.plan(wide, memory_limit=part * free.peak)
    table.append(sliced)
    print(
        f"limit {part:4.0%} of the peak: peak {sliced.peak:9,} bytes, {sliced.flops / free.flops:5.2f} times the FLOPs"
    )
assert all(plan.peak <= part * free.peak for plan, part in zip(table, (1.0, 0.5, 0.3), strict=True))
assert table[-1].flops >= table[0].flops

# %%
given = tk.init.normal(wide, seed=0)
assert np.isclose(tk.run(table[-1], given), tk.run(free, given))

# %% [markdown]
# What is too large for any order is contracted approximately: `tk.contract_approx` cuts bonds on the way.
# The script [ising.py](../examples/physics/ising.py) does this for a two-dimensional lattice of spins, and compares with the exact solution.
#
# ### Exercise 1. A chain of matrices
#
# Matrices of sizes 10 x 300, 300 x 5, 5 x 400, 400 x 8 and 8 x 200 are multiplied. Which order is cheapest?
# Write the classical dynamic program. The best cost of a stretch is the best split into two shorter stretches. Compare with `tk.plan(..., "optimal")`.

# %% tags=["solution"]
dims = (10, 300, 5, 400, 8, 200)
count = len(dims) - 1
best = {(k, k + 1): 0 for k in range(count)}
for length in range(2, count + 1):
    for a in range(count - length + 1):
        b = a + length
        best[a, b] = min(best[a, m] + best[m, b] + 2 * dims[a] * dims[m] * dims[b] for m in range(a + 1, b))
letters = "abcdef"
matrices = [tk.Node(f"M{k}", letters[k : k + 2]) for k in range(count)]
matrix_chain = tk.Network(matrices, "af", dict(zip(letters, dims, strict=True)))
optimal = tk.plan(matrix_chain, "optimal")
print(f"dynamic program: {best[0, count]:,} FLOPs; plan: {optimal.flops:,}")
assert optimal.flops == best[0, count]

# %% [markdown]
# ### Exercise 2. An optimiser of your own
#
# Write an optimiser that always contracts the pair with the smallest result. It gets `inputs` (the indices of each node),
# `output` and `sizes`. Try it on the norm above. Is it as good as the zipper?


# %% tags=["solution"]
def smallest_result(inputs, output, sizes, memory_limit):
    """Greedy: the pair whose result is smallest, of those that share an index where there are any."""
    left, path = [set(inds) for inds in inputs], []
    while len(left) > 1:
        choices = []
        for a in range(len(left)):
            for b in range(a + 1, len(left)):
                others = set(output).union(*(inds for k, inds in enumerate(left) if k not in (a, b)))
                kept = (left[a] | left[b]) & others
                choices.append((not left[a] & left[b], np.prod([sizes[i] for i in kept]), a, b, kept))
        *_, a, b, kept = min(choices, key=lambda c: c[:4])
        path.append((a, b))
        left = [inds for k, inds in enumerate(left) if k not in (a, b)] + [kept]
    return path


mine = tk.plan(norm, smallest_result)
print(f"smallest result first: {mine.flops:,} FLOPs, the zipper {plans['zipper'].flops:,}")
assert np.isclose(tk.run(mine, state), expected)
assert mine.flops < 1.1 * plans["zipper"].flops  # nearly as good

# %% [markdown]
# ### Exercise 3. Slice by hand
#
# Take a ring of six matrices (a trace). Fix one bond at each of its values with `tk.isel`, contract, and add up.
# Check the sum against `tk.contract`. Check also that the open ring has a smaller largest array.

# %% tags=["solution"]
ring = tk.from_graph(nx.cycle_graph(6), bond=8)
held = tk.init.normal(ring, seed=0)
bond = next(iter(ring.sizes))
total, largest = 0.0, 0
for value in range(ring.sizes[bond]):
    part, part_held = tk.isel(ring, held, {bond: value})
    plan = tk.plan(part)
    total, largest = total + tk.run(plan, part_held), max(largest, plan.largest)
print(f"largest array: ring {tk.plan(ring).largest}, slices {largest}")
assert np.isclose(total, tk.contract(ring, held)) and largest < tk.plan(ring).largest

# %% [markdown]
# Next: tutorial 3 goes the other way, from an array to a network.
