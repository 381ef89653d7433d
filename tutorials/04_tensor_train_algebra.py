# %% [markdown]
# # 4. Tensor-train algebra
#
# Vectors are added, scaled and measured. Tensor trains can be, too, without forming the tensor. This tutorial calculates
# with a vector of 2^100 entries. Then it applies gates to a quantum state, and an operator to a function.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
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


def bonds(net):
    """Sizes of the bonds: of all indices that are not open."""
    return {i: size for i, size in net.sizes.items() if i not in net.output}


# %% [markdown]
# ## Small first: the same as with vectors
#
# Two tensor trains a and b of six sites. Their tensors have few entries, so every result can be checked.

# %%
small = tk.tt((2,) * 6, rank=3)
a, b = (tk.init.normal(small, seed=seed) for seed in (0, 1))
x, y = tk.contract(small, a), tk.contract(small, b)
assert np.isclose(tk.inner(small, a, small, b), np.sum(x * y))
assert np.isclose(tk.norm(small, a), np.linalg.norm(x))
assert np.isclose(tk.distance(small, a, small, b), np.linalg.norm(x - y))
picture(tk.draw(small), "04_train")

# %% [markdown]
# A sum has larger bonds: those of both. `weights` scale the two terms.

# %%
total, held = tk.add(small, a, small, b, weights=(2.0, -1.0))
assert np.allclose(tk.contract(total, held), 2 * x - y)
print("bonds of a:", bonds(small))
print("bonds of the sum:", bonds(total))
assert max(bonds(total).values()) == 2 * max(bonds(small).values())

# %% [markdown]
# So bonds grow with every sum. **Rounding** makes them small again. It cuts each bond at the smallest error.
# Here a + a is rounded: the sum is 2 a, which needs no larger bonds than a.

# %%
twice = tk.round(tk.add(small, a, small, a), tol=1e-10)
print("bonds of a + a, rounded:", bonds(twice.network))
assert np.allclose(tk.contract(twice), 2 * x)
assert max(bonds(twice.network).values()) <= max(bonds(small).values())

# %% [markdown]
# ## The same with 2^100 entries
#
# Nothing above formed a tensor, but for the checks. So the number of sites can be large.

# %%
long = tk.tt((2,) * 100, rank=4)
a, b = (tk.init.normal(long, seed=seed) for seed in (0, 1))
total, held = tk.add(long, a, long, b, weights=(1.0, 1e-3))
rounded = tk.round(total, held, tol=1e-2)
cosine = tk.inner(long, a, rounded) / (tk.norm(long, a) * tk.norm(rounded))
print(f"a + b / 1000: {total!r}")
print(f"rounded:      {rounded.network!r}")
print(f"cosine of the angle to a: {cosine:.6f}")
assert rounded.network.num_params <= long.num_params and cosine > 0.999

# %% [markdown]
# ## Canonical form: isometries and a centre
#
# Why is it enough to look at one node at a time? All nodes but one can be made **isometries**: they keep lengths. The one that is left is the centre.
# Its norm is the norm of the whole tensor, and an error made there is the error of the whole.

# %%
form = tk.canonicalize(small, tk.init.normal(small, seed=0), "core_2")
net, held = form
assert np.isclose(np.linalg.norm(held["core_2"]), tk.norm(net, held))
left = held["core_0"]  # indices (i0, b1): an isometry from the bond
print("core_0 transposed times core_0:\n", np.round(left.T @ left, 12))
assert np.allclose(left.T @ left, np.eye(left.shape[1]))

# %% [markdown]
# ## Gates: a quantum circuit
#
# A state of twelve qubits is a vector of 2^12 amplitudes. Begin with all qubits at 0. That is a chain with bonds of size 1.
# A Hadamard gate on the first qubit and a row of CNOT gates make the state (00...0 + 11...1) / sqrt(2).

# %%
qubits = 12
net = tk.mps((2,) * qubits, 1)
zero = {name: np.array([1.0, 0.0]).reshape(shape) for name, shape in net.array_shapes.items()}
hadamard = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)
cnot = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
state = tk.apply_gate(net, zero, hadamard, ("i0",))
for k in range(qubits - 1):
    state = tk.apply_gate(state, cnot, (f"i{k}", f"i{k + 1}"), tol=1e-12)
amplitudes = tk.contract(state)
print("bonds:", bonds(state.network))
assert np.isclose(amplitudes[(0,) * qubits], 1 / np.sqrt(2)) and np.isclose(amplitudes[(1,) * qubits], 1 / np.sqrt(2))
assert set(bonds(state.network).values()) == {2}  # a large vector, and a small network

# %% [markdown]
# Measure it: samples come from the squared amplitudes (Born's rule). All qubits agree, and each value comes about half of the time.

# %%
samples = tk.sample(state, 1000, seed=0).values
print("samples of all 0:", int((samples == 0).all(axis=1).sum()), "- of all 1:", int((samples == 1).all(axis=1).sum()))
assert ((samples == samples[:, :1]).all()) and 400 < samples[:, 0].sum() < 600

# %% [markdown]
# A random circuit is another matter. Each layer of gates makes the bonds larger, until they are as large as they can be.
# The entropy of the middle bond shows it.

# %%
layers = 12
state = tk.Decomposition(net, zero, 0.0, {})
largest, entropy = [], []
for layer in range(layers):
    for k in range(layer % 2, qubits - 1, 2):
        gate, _ = np.linalg.qr(rng.standard_normal((4, 4)))
        state = tk.apply_gate(state, gate, (f"i{k}", f"i{k + 1}"), tol=1e-12)
    largest.append(max(bonds(state.network).values()))
    entropy.append(tk.bond_entropy(state)[f"b{qubits // 2}"])
print("largest bond by layer:", largest)
assert largest[0] <= 2 and largest[-1] == 2 ** (qubits // 2)

# %%
figure, ax = plt.subplots(figsize=(5, 3.2), constrained_layout=True)
ax.plot(range(1, layers + 1), entropy, "o-", label="entropy of the middle bond")
ax.axhline(np.log(2 ** (qubits // 2)), color="grey", linestyle=":", label="largest possible")
ax.set(xlabel="layers of random gates", ylabel="entropy (nats)")
ax.legend()
assert entropy[0] < entropy[-1] < np.log(2 ** (qubits // 2))
picture(figure, "04_entropy")

# %% [markdown]
# So a tensor train is right for states with little entanglement, and for short times. Two scripts use this for physics:
# [tebd.py](../examples/physics/tebd.py) lets a chain of spins evolve, and [dmrg.py](../examples/physics/dmrg.py) finds its ground state.
#
# ## Operators: a matrix of 2^n x 2^n
#
# An operator is a network too, a TT-matrix (MPO). `tk.operator` makes one from a sum of local terms.
# Here is the energy of a chain of spins in a magnetic field (the Ising model with a transverse field).

# %%
Z, X = np.diag([1.0, -1.0]), np.array([[0.0, 1.0], [1.0, 0.0]])


def energy(sites, field):
    """The sum of -Z Z over neighbours and of -field X over sites."""
    terms = [(-1.0, {k: Z, k + 1: Z}) for k in range(sites - 1)] + [(-field, {k: X}) for k in range(sites)]
    return tk.operator(terms, (2,) * sites)


H, h = energy(8, 0.5)
dense = tk.contract(H, h).reshape(2**8, 2**8)
print(f"the operator: {dense.size:,} entries, {H.num_params} parameters, bonds {set(bonds(H).values())}")
up = {name: np.array([1.0, 0.0]).reshape(shape) for name, shape in tk.mps((2,) * 8, 1).array_shapes.items()}
assert np.allclose(dense, dense.T) and np.isclose(tk.expect(H, h, tk.mps((2,) * 8, 1), up), -7)
picture(tk.draw(H), "04_operator")

# %% [markdown]
# `apply` multiplies an operator with a state and rounds the result.

# %%
psi = tk.mps((2,) * 8, rank=3)
p = tk.init.normal(psi, seed=0)
applied = tk.apply(H, h, psi, p, tol=1e-10)
assert np.allclose(tk.contract(applied).ravel(), dense @ tk.contract(psi, p).ravel())

# %% [markdown]
# ### Exercise 1. Pythagoras
#
# Take the two trains of 100 sites from above. Compute the norm of their sum in two ways: by `tk.add` and `tk.norm`,
# and from three inner products. Check that they agree.

# %% tags=["solution"]
summed, held = tk.add(long, a, long, b)
direct = tk.norm(summed, held)
squares = tk.inner(long, a, long, a) + 2 * tk.inner(long, a, long, b) + tk.inner(long, b, long, b)
print(f"directly {direct:.6e}, from inner products {np.sqrt(squares):.6e}")
assert np.isclose(direct, np.sqrt(squares))

# %% [markdown]
# ### Exercise 2. The lowest energy by repeated multiplication
#
# Take H for 8 sites and a field of 1. Multiply a state again and again with c - H, where c is larger than every eigenvalue, and normalise.
# What is left is the state of lowest energy. Do it with `tk.apply` and bonds of at most 8. Compare with `numpy.linalg.eigvalsh`.
# Hint: c - H is again a sum of local terms: put c / 8 times the identity on each site.
#
# How many times are needed depends on the gap between the two lowest eigenvalues. Look at the gap for a field of 0.5 too.

# %% tags=["solution"]
H1, h1 = energy(8, 1.0)
exact = np.linalg.eigvalsh(tk.contract(H1, h1).reshape(2**8, 2**8))
c = 10.0
terms = [(1.0, {k: Z, k + 1: Z}) for k in range(7)] + [(1.0, {k: X}) for k in range(8)]
terms += [(c / 8, {k: np.eye(2)}) for k in range(8)]
shifted, s = tk.operator(terms, (2,) * 8)
state = (psi, p)
for _ in range(300):
    found = tk.apply(shifted, s, state, rank=8)
    size = tk.norm(found)
    state = (found.network, {**found.arrays, "core_0": found.arrays["core_0"] / size})
value = tk.expect(H1, h1, state)
weak = np.linalg.eigvalsh(dense)  # the field of 0.5 from above
print(f"energy {value:.6f}, lowest eigenvalues {exact[:2]}; the gap at a field of 0.5: {weak[1] - weak[0]:.4f}")
assert c > exact[-1]
assert exact[0] - 1e-9 <= value < exact[0] + (exact[1] - exact[0]) / 100  # that state, and not the next
assert weak[1] - weak[0] < (exact[1] - exact[0]) / 50  # there, as many steps leave a mixture of the two lowest states

# %% [markdown]
# ### Exercise 3. An integral over 100 variables
#
# Integrate `cos(x_1 + ... + x_100)` over the unit cube, each axis with 30 Gauss points. That is a sum of 30^100 terms.
# Hint: the cosine of a sum is a tensor train with bonds of size 2, made of rotation matrices. The exact value is the real part of
# `((exp(i) - 1) / i)^100`.

# %% tags=["solution"]
points, weights = np.polynomial.legendre.leggauss(30)
points, weights = (points + 1) / 2, weights / 2
rotation = np.array([[np.cos(points), -np.sin(points)], [np.sin(points), np.cos(points)]])  # (2, 2, points)
train = tk.tt((30,) * 100, rank=2)
cores = {f"core_{k}": rotation.transpose(0, 2, 1) for k in range(100)}
cores["core_0"] = rotation[0].T  # the first row: (cos, -sin)
cores["core_99"] = rotation[:, 0]  # the first column
ones = tk.tt((30,) * 100, rank=1)
rule = {name: weights.reshape(shape) for name, shape in ones.array_shapes.items()}
integral = tk.inner(train, cores, ones, rule)
exact = (((np.exp(1j) - 1) / 1j) ** 100).real
print(f"integral {integral:.12e}, exact {exact:.12e}")
assert np.isclose(integral, exact, rtol=1e-10, atol=0)

# %% [markdown]
# Next: a chain is one shape of many. Tutorial 5 compares them at equal counts.
