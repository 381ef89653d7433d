# %% [markdown]
# # 1. Diagrams and einsum
#
# A tensor is an array with any number of axes. A tensor network is a product of tensors, written as a picture.
# This tutorial teaches you to read such a picture, to write it down, and to compute it.
#
# You need linear algebra and Python. In a clone, `pip install '.[compare]'` brings what the course imports. Run the file (`python tutorials/01_diagrams_and_einsum.py`), or cell by cell.
# Pictures go to `out/tutorials/`. Every `assert` checks a statement of the text.

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
# ## A product of matrices, index by index
#
# Here is the product of two matrices. The entry (i, k) is a sum over j.
#
# `einsum` writes only the indices: `ij,jk->ik`. What is right of the arrow is kept. What is missing there is summed.

# %%
A, B = rng.standard_normal((3, 4)), rng.standard_normal((4, 5))
by_index = np.einsum("ij,jk->ik", A, B)
print("largest difference to A @ B:", abs(by_index - A @ B).max())
assert np.allclose(by_index, A @ B)

# %% [markdown]
# As a picture, each matrix is a **node** and each index is a line. The line j joins A and B, so it is summed. Such a line is a **bond**.
# The lines i and k have a free end. They are **open indices**: axes of the result.

# %%
product = tk.Network([tk.Node("A", "ij"), tk.Node("B", "jk")], output="ik", sizes=dict(i=3, j=4, k=5))
print(product)
picture(tk.draw(product), "01_product")

# %% [markdown]
# A `Network` holds names and sizes. Its arrays are a dict beside it. `contract` computes the result.

# %%
assert np.allclose(tk.contract(product, {"A": A, "B": B}), A @ B)

# %% [markdown]
# ## Three nodes, three open indices
#
# Nothing stops at matrices. The node B below has three axes, and the result has three.
# The result has `i * j * k` entries. The network stores its three arrays instead. Their entries are its **parameters**.

# %%
chain = tk.Network(
    [tk.Node("A", "ir"), tk.Node("B", "rsj"), tk.Node("C", "sk")],
    output="ijk",
    sizes=dict(i=8, j=8, k=8, r=3, s=3),
)
arrays = {name: rng.standard_normal(shape) for name, shape in chain.array_shapes.items()}
x = tk.contract(chain, arrays)
print(f"the result has {x.size} entries, the network {chain.num_params} parameters")
assert x.shape == (8, 8, 8) and chain.num_params == 8 * 3 + 3 * 3 * 8 + 3 * 8
picture(tk.draw(chain), "01_chain")

# %% [markdown]
# The same equation goes to einsum as text, and comes back.

# %%
equation = tk.to_einsum(chain)
print("as einsum:", equation)
assert np.allclose(x, np.einsum(equation, *arrays.values()))
assert tk.from_einsum(equation, chain.sizes).shape == chain.shape

# %% [markdown]
# ## Why networks: the number of entries
#
# A tensor with n axes of size 2 has 2^n entries. A chain of n nodes stores a number of parameters that grows in proportion to n.
# So a chain can stand for a tensor that no machine can hold. It cannot stand for every such tensor: the next tutorials ask which.
#
# `tk.tt` builds a chain (a tensor train). Its `rank` is the size of its bonds.

# %%
sites = np.arange(4, 41, 4)
entries = [2.0**n for n in sites]
stored = [tk.tt((2,) * int(n), rank=4).num_params for n in sites]
figure, ax = plt.subplots(figsize=(5, 3.2), constrained_layout=True)
ax.semilogy(sites, entries, "o-", label="entries of the tensor")
ax.semilogy(sites, stored, "s-", label="parameters of a chain, bonds of size 4")
ax.set(xlabel="number of axes", ylabel="count")
ax.legend()
assert stored[-1] - stored[-2] == stored[-2] - stored[-3]  # a straight line, not an exponential
picture(figure, "01_counts")

# %% [markdown]
# ## The reading rule
#
# - An index in the output is kept. Every other index is summed.
# - An index on two nodes is an **edge**.
# - An index on three or more nodes is a **hyperedge**.
# - An index twice on one node is a **trace**.
#
# A hyperedge: r is on three nodes. The result is a sum over r of products of three vectors. This is the CP decomposition.

# %%
cp = tk.Network([tk.Node("A", "ir"), tk.Node("B", "jr"), tk.Node("C", "kr")], "ijk", dict(i=3, j=4, k=5, r=2))
held = tk.init.normal(cp, seed=1)
columns = sum(np.multiply.outer(np.outer(held["A"][:, r], held["B"][:, r]), held["C"][:, r]) for r in range(2))
assert cp.edges["r"] == ("A", "B", "C") and np.allclose(tk.contract(cp, held), columns)
picture(tk.draw(cp), "01_hyperedge")

# %% [markdown]
# A trace: i is twice on one node, and the output is empty. The result is a scalar.

# %%
trace = tk.Network([tk.Node("M", "ii")], "", dict(i=4))
M = rng.standard_normal((4, 4))
assert trace.shape == () and np.isclose(tk.contract(trace, {"M": M}), np.trace(M))

# %% [markdown]
# A batch: b is on two nodes *and* in the output, so it is kept. `fixed=True` marks data. Data has no parameters.

# %%
batch = tk.Network(
    [tk.Node("x", "bi", fixed=True), tk.Node("y", "bj", fixed=True), tk.Node("W", "ijk")],
    output="bk",
    sizes=dict(b=10, i=3, j=4, k=2),
)
given = {name: rng.standard_normal(shape) for name, shape in batch.array_shapes.items()}
one_by_one = np.stack([np.einsum("i,j,ijk->k", x, y, given["W"]) for x, y in zip(given["x"], given["y"], strict=True)])
assert np.allclose(tk.contract(batch, given), one_by_one) and batch.num_params == 3 * 4 * 2

# %% [markdown]
# ## When it goes wrong
#
# A mistyped index is on one node alone, so it is summed there, and no error follows. `explain` says in words how a network is read.

# %%
typo = tk.Network([tk.Node("A", ("i", "rr")), tk.Node("B", ("r", "j"))], "ij", dict(i=2, j=2, r=3, rr=3))
print(tk.explain(typo))
assert "rr:3" in str(tk.explain(typo))

# %% [markdown]
# Sizes that disagree are refused. The message names the node and the index.

# %%
try:
    tk.from_arrays({"A": (A, "ij"), "B": (B.T, "jk")}, output="ik")
except ValueError as error:
    print("refused:", error)
else:
    raise AssertionError("the sizes disagree")

# %% [markdown]
# ## Any graph is a network
#
# Builders make the well-known shapes. `from_graph` takes any graph of networkx: vertices become nodes, edges become indices.
# Here is the Petersen graph, with an open index on two of its vertices.

# %%
petersen = tk.from_graph(nx.petersen_graph(), bond=2, open={0: 4, 5: 4})
assert petersen.shape == (4, 4) and len(petersen.nodes) == 10
picture(tk.draw(petersen), "01_petersen")

# %% [markdown]
# A network is a value, as a number is. Two networks that say the same are equal. One file keeps a network and its arrays.

# %%
tk.save(OUT / "chain.tn", chain, arrays)
loaded, loaded_arrays = tk.load(OUT / "chain.tn")
assert loaded == chain and hash(loaded) == hash(chain)
assert all(np.array_equal(loaded_arrays[name], arrays[name]) for name in arrays)

# %% [markdown]
# ### Exercise 1. The diagonal of a product
#
# Write a network for the diagonal of `P @ Q`, where P is 6 x 4 and Q is 4 x 6. The full product must not be computed.
# Hint: one index is on both nodes and in the output.

# %% tags=["solution"]
P, Q = rng.standard_normal((6, 4)), rng.standard_normal((4, 6))
diagonal = tk.Network([tk.Node("P", "ij"), tk.Node("Q", "ji")], "i", dict(i=6, j=4))
assert diagonal.shape == (6,)
assert np.allclose(tk.contract(diagonal, {"P": P, "Q": Q}), np.diag(P @ Q))
assert tk.plan(diagonal).largest < 6 * 6  # the full product would have 36 entries

# %% [markdown]
# ### Exercise 2. Count triangles
#
# Let A be the adjacency matrix of a graph. The trace of A A A counts each triangle six times.
# Write it as a network of three nodes that share one array: `tk.Node(name, inds, array="A")`. Try it on a complete graph of five vertices.

# %% tags=["solution"]
closed = tk.Network(
    [tk.Node("1", "ij", array="A"), tk.Node("2", "jk", array="A"), tk.Node("3", "ki", array="A")],
    "",
    dict(i=5, j=5, k=5),
)
complete = nx.to_numpy_array(nx.complete_graph(5))
triangles = tk.contract(closed, {"A": complete}) / 6
print(f"triangles of the complete graph: {triangles:.0f}")
assert closed.num_params == 25  # one array, counted once
assert triangles == sum(nx.triangles(nx.complete_graph(5)).values()) / 3 == 10

# %% [markdown]
# ### Exercise 3. Count colourings
#
# In how many ways can the Petersen graph be coloured with three colours, so that neighbours differ?
# Take one index of size 3 for each vertex. Put a matrix on each edge: 0 where the colours agree, 1 elsewhere.
# A vertex with three neighbours is then a hyperedge. Sum over everything.

# %% tags=["solution"]
graph = nx.petersen_graph()
edges = [tk.Node(f"{a}-{b}", (f"v{a}", f"v{b}"), array="differ") for a, b in graph.edges]
colourings = tk.Network(edges, (), {f"v{v}": 3 for v in graph})
count = tk.contract(colourings, {"differ": 1.0 - np.eye(3)})
print(f"colourings: {count:.0f}")
every = np.indices((3,) * 10).reshape(10, -1)  # all 3^10 of them, for a check
assert count == sum(np.all([every[a] != every[b] for a, b in graph.edges], axis=0))

# %% [markdown]
# Next: the same network can be cheap or impossible to compute. Tutorial 2 shows that the order decides.
