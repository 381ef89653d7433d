"""The study of docs/arrays.md: its arrays, its networks, its statistics, its page."""

import importlib
from pathlib import Path

import numpy as np
import pytest

import tnkit as tk

pytest.importorskip("torch")
pytest.importorskip("scipy")
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "paper"))


def paper(name):
    return importlib.import_module(name)


# -- arrays ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(300, 400, 3), (128, 200), (90, 120), (256, 256)])
def test_the_middle_of_a_picture(shape):
    sources, rng = paper("array_sources"), np.random.default_rng(1)
    x = rng.random(shape)
    found = sources.centred(x)
    grey = x.mean(-1) if x.ndim == 3 else x
    assert found.shape == (128, 128)
    if min(shape[:2]) >= 256:  # four pixels in one
        top, left = ((n - 256) // 2 for n in grey.shape)
        assert np.isclose(found[3, 5], grey[top + 6 : top + 8, left + 10 : left + 12].mean())
    elif min(shape) >= 128:
        assert np.array_equal(found, grey[:, 36:164])
    else:  # stretched: corners stay
        assert np.allclose(found[[0, -1], [0, -1]], grey[[0, -1], [0, -1]])


def test_halves_are_fixed_before_anything_is_fitted():
    sources = paper("array_sources")
    every = sources.sources()
    side = sources.halves(every)
    assert side == sources.halves(every) and len({s.name for s in every}) == len(every) >= 40
    assert all(side[s.name] == "choosing" for s in every if s.seen)
    origins = {}
    for s in every:
        assert origins.setdefault(s.origin, side[s.name]) == side[s.name]
    for kind in {s.kind for s in every}:
        here = [side[s.name] for s in every if s.kind == kind]
        assert abs(here.count("choosing") - here.count("judging")) <= 1, kind
    other = sources.halves(every, seed=5)
    assert other != side and all(other[s.name] == "choosing" for s in every if s.seen)


def test_arrays_that_need_no_further_package():
    sources = paper("array_sources")
    for make in (lambda: sources.scene(0), sources.mandelbrot, sources.rough, lambda: sources.neighbours("wine"), lambda: sources.gram("digits")):  # fmt: skip
        x = make()
        assert x.shape == (128, 128) and np.isfinite(x).all() and x.std() > 0
    graph, gram = sources.neighbours("wine"), sources.gram("wine")
    assert set(np.unique(graph)) == {0, 1} and np.array_equal(graph, graph.T) and not graph.diagonal().any()
    assert graph.sum(1).min() >= 8 and np.allclose(gram.diagonal(), 1) and np.linalg.eigvalsh(gram).min() > -1e-9


def test_every_array_is_there():
    pytest.importorskip("skimage")
    for source in paper("array_sources").sources():
        x = source.load()
        assert x.shape == (128, 128) and np.isfinite(x).all() and x.std() > 0, source.name


# -- networks --------------------------------------------------------------------------------------------------------
def test_a_quad_site_has_a_digit_of_the_row_and_one_of_the_column():
    x = np.arange(64.0).reshape(8, 8)
    q = paper("array_fits").quads(x)
    row, col = 0b101, 0b011
    assert q.shape == (4, 4, 4) and q[0b10, 0b01, 0b11] == x[row, col]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["TT", "CP", "Tucker", "block term", "ring", "tree", "low rank"])
@pytest.mark.parametrize("budget", [80, 110])
def test_a_rival_has_no_fewer_parameters_and_a_start_no_more(family, budget):
    fits, rng = paper("array_fits"), np.random.default_rng(2)
    x = rng.standard_normal((16, 16) if family == "low rank" else (8, 8, 8))
    make = fits.SHALLOW[family][1]
    more, less = make(x, budget, True), make(x, budget, False)
    assert more[0].num_params >= budget >= less[0].num_params
    for net, arrays in (more, less):
        assert tk.contract(net, arrays).shape == x.shape and 0 < fits.distance(net, arrays, x) < 1
    assert fits.distance(*more, x) <= fits.distance(*less, x) + 1e-9


def test_a_block_term_is_the_sum_of_two_tuckers():
    fits, rng = paper("array_fits"), np.random.default_rng(3)
    x = rng.standard_normal((6, 5, 4))
    net, arrays = fits.block_term(x, 40, True)
    ranks = arrays["core"].shape[:-1]
    first = tk.tucker_svd(x, rank=ranks)
    second = tk.tucker_svd(x - tk.contract(*first), rank=ranks)
    assert np.allclose(tk.contract(net, arrays), tk.contract(*first) + tk.contract(*second))


@pytest.mark.slow
def test_a_block_term_of_uneven_ranks_is_near_its_budget_and_the_best_of_its_kind():
    fits, rng = paper("array_fits"), np.random.default_rng(7)
    shape = (8, 6, 4)
    core = rng.standard_normal((2, 3, 2))
    sides = [np.linalg.qr(rng.standard_normal((n, r)))[0] for n, r in zip(shape, core.shape, strict=True)]
    x = np.einsum("abc,ia,jb,kc->ijk", core, *sides) + 1e-3 * rng.standard_normal(shape)
    net, arrays = fits.block_term(x, 100, True)  # ranks 2, 3, 2: 2 * (12 + 42) = 108 parameters
    assert 100 <= net.num_params <= 108 and fits.distance(net, arrays, x) < 0.3
    x = rng.standard_normal((5, 5, 5))
    for budget in (40, 90, 150):
        near = fits.near_ranks(x.shape, budget, True)
        best = min(fits.distance(*fits.two_terms(x, r), x) for r in near)
        assert fits.distance(*fits.block_term(x, budget, True), x) <= best * 1.02


def test_energies_are_those_of_leading_blocks():
    core = np.random.default_rng(8).standard_normal((3, 4, 2))
    held = paper("array_fits").energies(core)
    assert held[1, 2, 0] == pytest.approx(np.square(core[:2, :3, :1]).sum()) and held[-1, -1, -1] == pytest.approx(np.square(core).sum())  # fmt: skip


@pytest.mark.parametrize(("rows", "cols"), [(16, 8), (8, 16), (4, 4)])
def test_a_kronecker_product_has_rank_one_in_its_blocks(rows, cols):
    rng = np.random.default_rng(9)
    a, b = rng.standard_normal((rows, cols)), rng.standard_normal((128 // rows, 128 // cols))
    blocks = paper("array_fits").coarse_and_fine(np.kron(a, b), rows, cols)
    assert np.allclose(blocks, np.outer(a, b))


def test_rivals_are_the_nearest_of_all_readings_and_of_those_close_to_the_budget(tmp_path):
    study = paper("arrays")
    closed = {label: [760, 0.5] for label, way in study.ways().items() if way.role == "shallow"}
    kronecker = [label for label, way in study.ways().items() if way.family == "sum of Kronecker products"]
    closed |= {kronecker[0]: [960, 0.2], kronecker[1]: [960, 0.3], kronecker[2]: [768, 0.4], kronecker[3]: [768, 0.45]}
    state = {"arrays": {"a": ["masks", "judging", False]}, "fits": {}, "closed": {"750": {"a": closed}}, "seconds": 0.0}
    wanted = study.Study(tmp_path / "r.json", state, {}, 1).rivals(750, ["a"])
    assert [label for label in kronecker if wanted[label]] == [kronecker[0], kronecker[2]]
    assert sum(map(len, wanted.values())) == len(study.fits.SHALLOW) + 1


@pytest.mark.slow
def test_networks_side_by_side_are_what_they_are_alone():
    fits, rng = paper("array_fits"), np.random.default_rng(4)
    targets = [rng.standard_normal((4, 4, 4, 4)) for _ in range(3)]
    pairs = [fits.by_svd(tk.tt_svd)(x, budget, False) for x, budget in zip(targets, (40, 60, 90), strict=True)]
    assert len({net.num_params for net, _ in pairs}) == 3
    whole, stack = fits.padded(pairs)
    for k, (net, arrays) in enumerate(pairs):
        assert np.allclose(tk.contract(whole, {n: a[k] for n, a in stack.items()}), tk.contract(net, arrays))
    together = fits.polish(whole, stack, targets, 40)
    for (net, arrays), x, one in zip(pairs, targets, together, strict=True):
        (alone,) = fits.polish(net, {n: a[None] for n, a in arrays.items()}, [x], 40)
        assert one.error == pytest.approx(alone.error, abs=2e-4) and one.start == pytest.approx(alone.start, abs=1e-5)
        assert one.error <= one.start and one.start == pytest.approx(fits.distance(net, arrays, x), abs=1e-5)
    with pytest.raises(ValueError, match="one structure"):
        fits.padded([pairs[0], (tk.ring((4,) * 4, 2), {})])


@pytest.mark.parametrize("label", ["TT, tanh, depth 2", "CP, tanh, depth 2", "TT, sin, depth 2"])
def test_a_circuit_starts_where_the_library_lifts_it(label):
    study, fits, rng = paper("arrays"), paper("array_fits"), np.random.default_rng(5)
    x, way = rng.standard_normal((4,) * 4), study.ways()[label]
    pair = way.start(x, 120)
    assert pair[0].num_params + way.more <= 120
    net, stack = study.started(way, [pair], 0)
    ours = tk.contract(net, {n: a[0] for n, a in stack.items()})
    lifted = tk.contract(net, tk.init.lifted(net, pair, amplitude=fits.AMPLITUDE))
    assert np.vdot(ours, lifted) / np.linalg.norm(ours) / np.linalg.norm(lifted) == pytest.approx(1, abs=1e-6)


def test_controls_have_the_circuits_parameters():
    study = paper("arrays")
    every, x = study.ways(), np.random.default_rng(6).standard_normal((4,) * 4)
    deep = every["TT, tanh, depth 2"]
    for label in ("TT, linear, depth 2", "TT, tanh, depth 2, random start"):
        way = every[label]
        pair = way.start(x, 120)
        net, stack = study.started(way, [pair, pair], 7)
        assert net.num_params == study.started(deep, [deep.start(x, 120)] * 2, 7)[0].num_params
        if way.role == "random":
            assert not np.allclose(*stack["gate_0_0"]) and not np.allclose(stack["gate_0_0"][0], np.eye(4))


# -- what is chosen, and what is said --------------------------------------------------------------------------------
def state_of(ratios, parameters=740):
    """A result of two arrays a half: deep errors over .5 of the one shallow network."""
    tables, study = paper("array_tables"), paper("arrays")
    arrays = {n: ["photographs", side, False] for n, side in (("a", "choosing"), ("b", "choosing"), ("c", "judging"), ("d", "judging"))}  # fmt: skip
    fits = {
        label: {n: [parameters, 0.9, 0.5 * r, 0.01] for n, r in zip("abcd", ratios.get(label, [1.5] * 4), strict=True)}
        for label, way in study.ways().items() if way.role in ("deep", "deeper", "one activation", "linear", "random")
    }  # fmt: skip
    for family in tables.FAMILIES:
        label = next(k for k, way in study.ways().items() if way.family == family and way.role == "shallow")
        fits[label] = {n: [760, 0.6, 0.5 if family == "CP" else 0.55, 0.01] for n in "abcd"}
    return {"arrays": arrays, "fits": {"750": fits}, "closed": {}, "seconds": 60.0}


def test_what_judges_is_not_what_chooses():
    study, tables = paper("arrays"), paper("array_tables")
    state = state_of({"TT, tanh, depth 3": [0.8, 0.8, 1.2, 0.9], "CP, tanh, depth 2": [0.9, 0.9, 0.1, 0.1]})
    assert study.judged(state, ["photographs"]) == {"photographs": "TT, tanh, depth 3"} == tables.chosen(state)
    pairs = tables.pairings(state, "judging", tables.chosen(state))
    assert [p.array for p in pairs] == ["c", "d"] and [p.ratio for p in pairs] == pytest.approx([1.2, 0.9])
    assert tables.counted(pairs) == (1, pytest.approx(1.05), 1.0)


def test_a_class_that_is_not_measured_whole_is_not_shown():
    tables = paper("array_tables")
    state = state_of({"TT, tanh, depth 3": [0.8] * 4})
    del state["fits"]["750"]["TT, tanh, depth 3"]["d"]
    assert tables.pairings(state, "judging", {"photographs": "TT, tanh, depth 3"}) == []
    state = state_of({"TT, tanh, depth 3": [0.8] * 4})
    del state["fits"]["750"]["low rank, matrix"]["c"]
    assert tables.rival(state, 750, "c") is None and tables.rival(state, 750, "d")[2] == 0.5


def test_what_is_not_measured_is_said():
    tables = paper("array_tables")
    state = state_of({"TT, tanh, depth 3": [0.8] * 4})
    assert tables.missing_parts(state) == ["2,000 parameters", "330 parameters"]
    state["arrays"] |= {"e": ["weights", "choosing", False], "f": ["weights", "judging", False]}
    assert tables.missing_parts(state)[0] == "weights"


def test_rivals_of_many_more_parameters_can_be_left_out():
    tables = paper("array_tables")
    state = state_of({})
    label, count, error = tables.rival(state, 750, "c")
    assert (count, error) == (760, 0.5) and label.startswith("CP")
    state["fits"]["750"][label]["c"][0] = 960
    assert tables.rival(state, 750, "c")[1:] == (960, 0.5) and tables.rival(state, 750, "c", 1.1)[1:] == (760, 0.55)


def test_a_deep_network_of_more_parameters_is_refused():
    state = state_of({}, parameters=761)
    with pytest.raises(ValueError, match=r"c: TT, tanh, depth 2 has 761 parameters, .* has 760"):
        paper("array_tables").pairing(state, 750, "c", "TT, tanh, depth 2")


@pytest.mark.parametrize(("wins", "of"), [(7, 10), (0, 4), (5, 10), (11, 11), (20, 26)])
def test_the_sign_test_is_scipys(wins, of):
    from scipy.stats import binomtest

    assert paper("array_tables").sign_test(wins, of) == pytest.approx(binomtest(wins, of).pvalue)


# -- expressivity ----------------------------------------------------------------------------------------------------
def test_a_sine_of_few_parameters_holds_a_chirp():
    found = paper("expressivity").chirp(steps=3, starts=2, n=5)
    assert found["error"] < 1e-10 and found["parameters"] == 224 and found["entries"] == 1024
    assert found["tt"]["0.1"] <= found["tt"]["0.01"] <= found["tt"]["0.001"]
    assert len(found["errors"]) == 2 and all(0 < e <= 1 for e in found["errors"])


def test_a_wall_stays_at_its_truth_and_leaves_other_starts():
    study = paper("expressivity")
    net = study.wall(2, "sin", 6)
    truth = tk.init.orthogonal(net, seed=1, std=1.0)
    x = tk.contract(net, truth)
    assert study.errors(net, [truth], x, 0)[0] < 1e-3
    near, far = (study.errors(net, [study.moved(truth, off, np.random.default_rng(0))], x, 0)[0] for off in (0.01, 0.5))
    assert 0 < near < 0.1 < far


def test_moved_arrays_are_off_by_so_many_root_mean_squares():
    moved = paper("expressivity").moved({"a": np.full((100, 100), 3.0)}, 0.4, np.random.default_rng(1))["a"]
    assert np.sqrt(np.mean((moved - 3) ** 2)) == pytest.approx(1.2, rel=0.05)


# -- the page --------------------------------------------------------------------------------------------------------
def test_the_figure_is_that_of_the_results():
    tables = paper("array_tables")
    figure = tables.figure()
    assert figure == tables.FIGURE.read_text()
    state = tables.found()
    assert all(p.array in figure for p in tables.pairings(state, "judging", tables.chosen(state)))


def test_the_results_are_not_older_than_their_code():
    digests = paper("digests")
    for name in ("arrays", "expressivity"):
        assert digests.older(paper("array_tables").found(name)["code"]) == ""
