"""``tk.einsum``: the equations of numpy's, torch's and opt_einsum's own tests, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest

import tnkit as tk
from tnkit.execution import einsum as module

torch = pytest.importorskip("torch")
LIBRARIES = ("numpy", "torch")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Sizes of letters where a line of the table gives none.
SIZES = dict(zip(LETTERS, [2, 3, 4, 5, 4, 3, 2, 6, 5, 4, 3, 2, 5, 7, 4, 3] * 4, strict=False))


def table():
    """Each line of the table: an equation, and its letters and their sizes where they are not the usual ones."""
    for line in (Path(__file__).parent / "equations.txt").read_text().splitlines():
        equation, letters, sizes = (*line.split("  ")[:1], *line.partition("  ")[2].split(), "", "")[:3]
        yield equation, dict(zip(letters, map(int, sizes), strict=True)) if letters else SIZES


def drawn(*shapes, seed=0, dtype="float64"):
    rng = np.random.default_rng([seed, len(shapes)])
    arrays = [rng.standard_normal(shape) for shape in shapes]
    if dtype.startswith("complex"):
        arrays = [x + 1j * rng.standard_normal(x.shape) for x in arrays]
    return [np.asarray(x, dtype) for x in arrays]


def of_equation(equation, sizes, **options):
    terms = equation.replace(" ", "").split("->")[0].split(",")
    return drawn(*([sizes[c] for c in term] for term in terms), **options)


def in_library(library, arrays):
    return [torch.from_numpy(np.array(x)) for x in arrays] if library == "torch" else arrays


def check(got, want, tolerance=1e-10):
    got = np.asarray(got)
    assert got.shape == np.shape(want)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * (1 + np.abs(want).max(initial=0)))


EQUATIONS = list(table())


def test_the_table_is_whole():
    assert len(EQUATIONS) > 250 and len({e for e, _ in EQUATIONS}) == len(EQUATIONS)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("equation, sizes", EQUATIONS, ids=[e for e, _ in EQUATIONS])
def test_equations(equation, sizes, library):
    arrays = of_equation(equation, sizes)
    want = np.einsum(equation, *arrays, optimize=True)
    given = in_library(library, arrays)
    for _ in range(3):  # cold, then with what is kept
        check(tk.einsum(equation, *given), want)


#: Equations with an ellipsis, or broadcast axes of size 1, and the shapes of their operands.
BROADCAST = [
    ("...a->...", [(2, 3, 4)]), ("...a", [(2, 3, 4)]), ("a...->...", [(2, 3, 4)]), ("a...a->...a", [(3, 2, 3)]),
    ("...,...", [(3, 4), (3, 4)]), ("..., ...", [(), ()]), ("...a,...b", [(2, 3, 4), (2, 3, 5)]),
    ("...->...", [()]), ("...ii->...i", [(2, 3, 3)]), ("ii...->...i", [(3, 3, 2)]), ("...ii->i...", [(2, 3, 3)]),
    ("i...i->i...", [(3, 2, 3)]), ("i...,i...", [(4, 2), (4, 3, 2)]), ("...i,...i", [(3, 4), (4,)]),
    ("...ij,...jk->...ik", [(1, 5), (5, 5)]), ("...ij,...jk->...ik", [(7, 1, 2, 3), (6, 3, 4)]),
    ("ij...,j...->i...", [(2, 3, 4), (3, 4)]), ("ij...,...j->ij...", [(2, 3, 4), (4, 3)]),
    ("ik...,...kj->i...j", [(2, 3), (3, 4)]), ("...lmn,lmno->...o", [(2, 3, 4), (2, 3, 4, 5)]),
    ("...ft,mf->...mt", [(2, 3, 4), (5, 3)]), ("ij->...ij", [(2, 3)]), ("ij->ji...", [(2, 3)]), ("b...a->a...b", [(2, 3, 4)]),
    ("...b,...a->...", [(2, 5), (2, 4)]), ("A...,...b->b...A", [(2, 3), (3, 4)]), ("...,a->a...", [(2, 3), (4,)]),
    ("ij,ij->j", [(10, 2), (1, 2)]), ("ijk,kl,jl,i->i", [(1, 5, 4), (4, 6), (5, 6), (10,)]),
    ("abjk,kl,jl,ab->ab", [(1, 1, 5, 4), (4, 6), (5, 6), (7, 7)]), ("ajk,kbl,jl,ab->ab", [(1, 5, 4), (4, 1, 6), (5, 6), (7, 7)]),
    ("ab,bc,bd->acd", [(5, 4), (1, 5), (4, 20)]), ("ii,i->i", [(1, 1), (3,)]), ("ij,jk->ik", [(2, 1), (4, 3)]),
    ("i,i,i->", [(1,), (4,), (1,)]), ("bbcdc->d", [(1, 1, 3, 1, 3)]), ("nlp,nlq,pl->n", [(1, 2, 3), (1, 2, 4), (3, 2)]),
    ("ij,jk->ik", [(2, 0), (0, 3)]), ("i->", [(0,)]), ("ij->ij", [(0, 3)]), ("ij,jk->ik", [(2, 1), (0, 3)]), ("...->...", [(0, 2)]),
]  # fmt: skip


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("equation, shapes", BROADCAST, ids=str)
def test_ellipsis_and_axes_of_size_1(equation, shapes, library):
    arrays = drawn(*shapes)
    check(tk.einsum(equation, *in_library(library, arrays)), np.einsum(equation, *arrays))


@pytest.mark.parametrize("equation", ["...a->", "...a,a->", "...a,...b->ab"])
def test_an_ellipsis_that_the_output_has_not_is_summed_as_in_opt_einsum(equation):
    arrays = drawn((2, 3, 4), *([(2, 3, 5)] if "b" in equation else [(4,)] if "," in equation else []))
    check(tk.einsum(equation, *arrays), torch.einsum(equation, *map(torch.from_numpy, arrays)).numpy())


def test_operands_with_labels():
    a, b, c = drawn((2, 3), (3, 4), (2, 3, 4))
    check(tk.einsum(a, [0, 1], b, [1, 2]), a @ b)
    check(tk.einsum(a, [0, 1], b, [1, 2], [2, 0]), (a @ b).T)
    check(tk.einsum(a, (1000, 1001), b, (1001, 1002)), a @ b)
    check(tk.einsum(a, ("left", "bond"), b, ("bond", "right"), ("right", "left")), (a @ b).T)
    for k in range(1, 12):  # labels are sorted as what they are, 2 before 10
        check(tk.einsum(a, (k + 1, k)), a.T)
        check(tk.einsum(a, ("b" * k, "a" * k)), a.T)
    check(tk.einsum(c, [..., 0]), c)
    check(tk.einsum(c, [..., 0], [...]), c.sum(-1))
    check(tk.einsum(c, [0, ...], b, [...]), np.einsum(c, [0, ...], b, [...]))
    check(tk.einsum(a, [], []) if a.ndim == 0 else tk.einsum(3.0, []), 3.0)


@pytest.mark.parametrize("library", LIBRARIES)
def test_letters_beyond_ascii_and_beyond_52(library):
    a, b = in_library(library, drawn((2, 3), (3, 2)))
    check(tk.einsum("αβ,βγ", a, b), np.asarray(a) @ np.asarray(b))
    arrays = in_library(library, drawn(*[(2, 2)] * 70))
    labels = [(k, k + 1) for k in range(70)]
    want = np.linalg.multi_dot([np.asarray(x) for x in arrays])
    check(tk.einsum(*(y for pair in zip(arrays, labels, strict=True) for y in pair)), want, 1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_dtypes(dtype, library):
    arrays = drawn((2, 3), (3, 4), (4, 2), dtype=dtype)
    for equation in ("ab,bc,ca", "ab,bc,ca->cb", "ab,bc,cd->ad"):
        got = tk.einsum(equation, *in_library(library, arrays))
        assert str(got.dtype).removeprefix("torch.") == dtype
        check(got, np.einsum(equation, *(x.astype("complex128") for x in arrays)), 1e-5)


@pytest.mark.parametrize("seed", range(12))
def test_numpys_dtypes_are_widened_first(seed):
    """Products of whole numbers do not wrap around where another operand holds them, in whatever order they are multiplied."""
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(["uint8", "int16", "float32", "bool", "int64", "complex64"])[:3]
    arrays = [rng.integers(0, 100, (2, 2)).astype(kind) for kind in kinds]
    got, want = tk.einsum("ab,bc,cd", *arrays), np.einsum("ab,bc,cd", *arrays)
    assert got.dtype == want.dtype
    check(got, want, 1e-5)


def test_lists_numbers_and_other_arrays_of_numpy():
    a = np.arange(3.0)
    check(tk.einsum("i,->i", a, 2), 2 * a)
    check(tk.einsum(",,->", 5, 5.0, 2.0j), 50j)
    check(tk.einsum("ab,->", [[5, 5], [2.0, 1]], 2.0j), 26j)
    check(tk.einsum("ab,->", [[5, 5], [2.0, 1]], True), 13)
    check(tk.einsum("ab,bc", np.array([[1, 2]]).view(np.matrix), np.array([[3], [4]])), [[11]])
    assert type(tk.einsum("ab,bc", np.array([[1, 2]]).view(np.matrix), np.array([[3], [4]]))) is np.ndarray
    assert isinstance(tk.einsum("i,i", a, a), np.float64)
    assert tk.einsum("i,i->", np.ones(3, bool), np.ones(3, bool)).dtype == bool


REFUSED = [
    ((), ValueError, "got nothing"),
    ((0, 0), TypeError, "labels of an operand"),
    ((None,) * 63, TypeError, "labels of an operand"),
    (("",), ValueError, "1 operand, and 0 given"),
    (("", 0, 0), ValueError, "1 operand, and 2 given"),
    ((",", 0, [0], [0]), ValueError, "2 operands, and 3 given"),
    ((",", [0]), ValueError, "2 operands, and 1 given"),
    (("->,->", 0, 5), ValueError, "more than one '->'"),
    (("&,a->", 0, 5), ValueError, "'&' is no letter"),
    (("a,a->&", 0, 5), ValueError, "'&' is no letter"),
    (("i%...", [0, 0]), ValueError, "'%' is no letter"),
    (("...j$", [0, 0]), ValueError, r"'\$' is no letter"),
    (("a1->a", [[0, 0]]), ValueError, "'1' is no letter"),
    (("i>j", [[0, 0]]), ValueError, "'>' is no letter"),
    (("i-j", [[0, 0]]), ValueError, "'-' is no letter"),
    (("i", 0), ValueError, "operand 0 has 0 axes"),
    (("ij", [0, 0]), ValueError, "operand 0 has 1 axis"),
    (("...i", 0), ValueError, "operand 0 has 0 axes"),
    (("i...j", [0, 0]), ValueError, "operand 0 has 1 axis"),
    (("ij...", [0, 0]), ValueError, "operand 0 has 1 axis"),
    (("i", np.ones((2, 3))), ValueError, r"operand 0 has 2 axes \(2, 3\)"),
    (("i..", [0, 0]), ValueError, "one ellipsis"),
    ((".i...", [0, 0]), ValueError, "one ellipsis"),
    (("...i...", [0, 0]), ValueError, "one ellipsis"),
    (("j->..j", [0, 0]), ValueError, "one ellipsis"),
    (("j->.j...", [0, 0]), ValueError, "one ellipsis"),
    (("i->ij", [0, 0]), ValueError, "output letter 'j' is in no operand"),
    (("ij->jij", [[0, 0], [0, 0]]), ValueError, "output letter 'j' is given twice"),
    (("ii", np.ones((2, 3))), ValueError, "operand 0 has 'i' twice, of sizes 2 and 3"),
    (("ii->i", np.ones((1, 3))), ValueError, "operand 0 has 'i' twice, of sizes 1 and 3"),
    (("i,i", [0, 0], [0, 0, 0]), ValueError, "index 'i' has size 2 in operand 0 and 3 in operand 1"),
    (("...,...", np.ones((2, 3)), np.ones((4, 3))), ValueError, r"index '...\[-2\]' has size 2 in operand 0 and 4 in operand 1"),
    ((np.ones(2), [..., ["a"]]), TypeError, "labels are numbers or texts that sort"),
    ((np.ones((2, 2)), [0, "a"]), TypeError, "labels are numbers or texts that sort"),
    (("i", ["a"]), TypeError, "array 'operand 0' has dtype"),
    (("i,i", [1, None], [1, 2]), TypeError, "array 'operand 0' has dtype object"),
    (("i,i", [1.0, 2.0], torch.ones(2)), TypeError, "one library"),
    (("i,i", torch.ones(2), torch.ones(2, dtype=torch.float64)), ValueError, "does not mix dtypes"),
    (("i,ij", torch.ones(2), torch.eye(2).to_sparse()), TypeError, "array 'operand 1' is sparse_coo"),
]  # fmt: skip


@pytest.mark.parametrize("operands, error, message", REFUSED, ids=lambda x: None)
def test_refused(operands, error, message):
    with pytest.raises(error, match=message):
        tk.einsum(*operands)


def test_arguments():
    a, b, c = drawn((2, 30), (30, 40), (40, 2))
    want = a @ b @ c
    for optimizer in ("greedy", "optimal", [(0, 1), (0, 1)], lambda *_: [(0, 1), (0, 1)]):
        check(tk.einsum("ab,bc,cd->ad", a, b, c, optimizer=optimizer), want)
    check(tk.einsum("ab,bc,cd->ad", a, b, c, backend=tk.NUMPY), want)
    with pytest.raises(ValueError, match="unknown optimizer 'best'"):
        tk.einsum("ab,bc,cd->ad", a, b, c, optimizer="best")
    with pytest.raises(TypeError, match="strip_exponent is True or False"):
        tk.einsum("ab,bc,cd->ad", a, b, c, strip_exponent=1)
    with pytest.raises(TypeError, match="backend is an array library"):
        tk.einsum("ab,bc,cd->ad", a, b, c, backend="numpy")


def test_memory_limit_is_kept():
    a, b, c = drawn((64, 200), (64, 200), (200, 200))
    need = tk.plan(tk.from_einsum("ai,bi,ij->abj", dict(a=64, b=64, i=200, j=200))).peak
    check(
        tk.einsum("ai,bi,ij->abj", a, b, c, memory_limit=0.9 * need), np.einsum("ai,bi,ij->abj", a, b, c, optimize=True)
    )
    with pytest.raises(ValueError, match="memory_limit"):
        tk.einsum("ai,bi,ij->abj", a, b, c, memory_limit=1000)


@pytest.mark.parametrize("library", LIBRARIES)
def test_numbers_beyond_the_dtype(library):
    arrays = in_library(library, [x * 1e30 for x in drawn((3, 3), (3, 3), (3, 3), dtype="float32")])
    value, exponent = tk.einsum("ab,bc,ca", *arrays, strip_exponent=True)
    exact = np.einsum("ab,bc,ca", *(np.asarray(x, "float64") for x in arrays))
    assert float(value) * 10.0 ** float(exponent) == pytest.approx(exact, rel=1e-5)
    zero, _ = tk.einsum("ab,bc->ac", np.ones((2, 0)), np.ones((0, 2)), strip_exponent=True)
    check(zero, np.zeros((2, 2)))


def test_what_is_kept_is_never_stale():
    """Another shape, dtype, type or library under one equation is seen, and so are tied operands."""
    a, b = drawn((2, 3), (3, 4))
    for _ in range(3):
        check(tk.einsum("ab,bc", a, b), a @ b)
    wide = drawn((5, 3), (3, 6))
    check(tk.einsum("ab,bc", *wide), wide[0] @ wide[1])
    check(tk.einsum("ab,bc", a.astype("float32"), b.astype("float32")), a @ b, 1e-5)
    check(tk.einsum("ab,bc", a.tolist(), b), a @ b)
    check(tk.einsum("ab,bc", torch.tensor(a), torch.nn.Parameter(torch.tensor(b))).detach(), a @ b)
    check(tk.einsum("ab,cb", a, a), a @ a.T)
    check(tk.einsum("ab,bc", a[:, ::-1], np.asfortranarray(b)), a[:, ::-1] @ b)
    with pytest.raises(ValueError, match="index 'b' has size 3 in operand 0 and 2 in operand 1"):
        tk.einsum("ab,bc", a, a)
    with pytest.raises(ValueError, match="does not mix dtypes"):
        tk.einsum("ab,bc", torch.tensor(a), torch.tensor(b, dtype=torch.float32))


@pytest.mark.parametrize("equation", ["ab,bc,cd->ad", "aab,b->", "...a,...a->...", "a,ab->ab", "ab,cb->ac"])
def test_gradients(equation):
    rng = np.random.default_rng(0)
    shapes = [[2 + (ord(c) % 3) for c in t] for t in equation.split("->")[0].replace("...", "").split(",")]
    shapes = [[4, *s] if "..." in equation else s for s in shapes]
    tensors = [torch.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]
    for _ in range(2):
        assert torch.autograd.gradcheck(lambda *x: tk.einsum(equation, *x), tensors)
    one = [x.detach() for x in tensors]
    batch = torch.stack([one[0], 2 * one[0]])
    both = torch.vmap(lambda x: tk.einsum(equation, x, *one[1:]))(batch)
    check(both[1], 2 * torch.einsum(equation, *one).numpy())


@pytest.mark.slow
def test_under_torch_compile():
    a, b = map(torch.from_numpy, drawn((2, 3), (3, 4)))
    compiled = torch.compile(lambda x, y: tk.einsum("ab,bc->ac", x, y) + 1, backend="eager")
    for _ in range(2):
        check(compiled(a, b), (a @ b + 1).numpy())


def test_an_empty_operand_has_a_gradient():
    x = torch.ones(2, 0, requires_grad=True)
    tk.einsum("ij,jk->ik", x, torch.ones(0, 3)).sum().backward()
    assert x.grad.shape == (2, 0)


def test_a_network_is_made_once(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "plan_by_name", lambda *a: calls.append(a) or tk.plan(*a))
    arrays = drawn((2, 11), (11, 3))
    for _ in range(4):
        tk.einsum("xy,yz->zx", *arrays)
    assert len(calls) == 1
