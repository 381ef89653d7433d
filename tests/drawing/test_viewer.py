"""The viewer's page in a browser: what it shows is what the plan counts, by pointer, by keys and for a screen reader."""

import html
import json
import re
from math import prod

import pytest

import tnkit as tk
from tnkit.cli import main
from tnkit.drawing.viewer import MOST_BYTES
from tnkit.testing import random_network

CHAIN = tk.tt((4, 3, 5, 2, 4), 3)


def conjugate(net):
    star = "{}*".format
    return net.relabel(inds=lambda i: i if i in net.output else star(i), nodes=star, arrays=star)


def squared_norm(net):
    return net.join(conjugate(net), output=(), on=net.output)


@pytest.fixture
def opened(browser, tmp_path):
    """A page on a saved viewer; at the end: nothing was said on the console, and nothing was asked of the network."""
    pages, said, asked = [], [], []

    def go(viewer, hash="", **options):
        path = viewer.save(tmp_path / f"{len(pages)}.html")
        options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
        page = browser.new_page(**options)
        pages.append(page)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{path.as_uri()}{hash}")
        return page

    yield go
    for page in pages:
        page.close()
    assert said == [] and all(url.startswith("file:") for url in asked) and len(asked) == len(pages)


def text(page, selector):
    return " ".join(page.inner_text(selector).split())


def figures(page):
    """The card's figures by their titles."""
    titles, values = page.locator("#card dt").all_inner_texts(), page.locator("#card dd").all_inner_texts()
    return dict(zip(titles, (v.split("\n")[0] for v in values), strict=True))


# -- what it shows ----------------------------------------------------------------------------------------------------
def shown_is_the_record(page, net, step, k, steps):
    sizes = {
        i: n
        for level in (net, *(b for e in net.nodes if isinstance(e, tk.Elementwise) for b in e.bodies))
        for i, n in level.sizes.items()
    }
    said = page.inner_text("#live")
    assert f"Step {k + 1} of {steps}." in said and f"{step.flops:,} FLOPs" in said
    assert all(name in said for name in step.operands) and f"Result {step.name}," in said
    assert " by ".join(str(sizes[i]) for i in step.result) in said
    terms = page.locator("#card .equation b").all_inner_texts()
    assert terms == [*step.operands, step.name]
    equation = text(page, "#card .equation")
    for name, inds in zip((*step.operands, step.name), (*step.inds, step.result), strict=True):
        assert f"{name}[{' '.join(inds)}]" in equation
    summed = set(page.locator("#card i.summed").all_inner_texts())
    assert summed == set(step.summed)
    assert figures(page)["FLOPs"].startswith(f"{step.flops:,}")
    assert page.locator("#network .node.lit").count() == len(step.operands)


@pytest.mark.slow
@pytest.mark.parametrize(
    "net", [CHAIN, tk.brick_wall(4, 2, 2, "relu"), tk.cp((3, 4, 5), 2), squared_norm(tk.tt((2, 3, 2), 2))], ids=["chain", "wall", "hyperedge", "norm"]
)  # fmt: skip
def test_every_step_is_the_plans(opened, net):
    plan = tk.plan(net)
    page = opened(tk.view(plan))
    steps = plan.timeline
    for k, step in enumerate(steps):
        shown_is_the_record(page, net, step, k, len(steps))
        page.keyboard.press("ArrowRight")
    done = figures(page)
    assert done["FLOPs in all"] == f"{plan.flops:,}" and page.inner_text("#live").startswith(
        f"Done. {plan.flops:,} FLOPs"
    )
    totals = page.evaluate("[shown.track.total, shown.track.peak]")
    assert totals == [plan.flops, plan.peak]


@pytest.mark.slow
@pytest.mark.parametrize("nonlinear", [False, True])
def test_random_networks_are_replayed(opened, nonlinear):
    """The script's own counts of equations are tnkit's, for traces, hyperedges, outer products and functions too."""
    nets = {}
    for seed in range(24):
        net, _ = random_network(seed, nonlinear=nonlinear)
        if len(tk.plan(net).timeline) > 0:
            nets.setdefault(net)
    plans = [tk.plan(net) for net in nets]
    page = opened(tk.view(*plans))
    needed = page.evaluate("DATA.map(net => bestOf(net).needed)")
    assert needed == [plan.flops for plan in plans] and len(plans) > 10


@pytest.mark.slow
def test_slices_say_how_often_they_run(opened):
    net = tk.tt((4,) * 6, 4)
    plan = tk.plan(net, slices=4)
    page = opened(tk.view(plan))
    (sliced,) = {step.sliced for step in plan.timeline}
    assert "your own" not in page.inner_text("#orders")  # there is no whole contraction to compare with
    assert f"runs 4 times, once for each value of {sliced[0]}" in text(page, "#card")
    page.keyboard.press("End")
    assert figures(page)["FLOPs in all"] == f"{plan.flops:,}"


@pytest.mark.slow
def test_orders_stand_side_by_side(opened):
    plans = [tk.plan(CHAIN), tk.plan(CHAIN, [(0, 4), (0, 3), (0, 1), (0, 1)])]
    page = opened(tk.view(*plans, names=["ours", "ends <first>"]))
    cards = page.locator("#orders .order").all_inner_texts()
    assert len(cards) == 3 and "ours" in cards[0] and "best" in cards[0] and "ends <first>" in cards[1]
    ratio = plans[1].flops / plans[0].flops
    assert f"{ratio:.1f}".rstrip("0").rstrip(".") + "×" in cards[1] if ratio < 10 else f"{ratio:.0f}×" in cards[1]
    page.locator("#orders input").nth(1).check()
    assert f"{plans[1].timeline[0].flops:,} FLOPs" in page.inner_text("#live")


@pytest.mark.slow
def test_barriers_are_brackets(opened):
    net = tk.brick_wall(4, 2, 3, "relu")
    page = opened(tk.view(net))
    assert page.locator("#network .barrier").count() == 2 and page.locator("#network .barrier.gone").count() == 0
    steps = tk.plan(net).timeline
    for step in steps:
        assert page.locator("#network .barrier.lit").count() == (step.kind == "apply")
        page.keyboard.press("ArrowRight")
    assert page.locator("#network .barrier.gone").count() == 2
    assert "your own" not in page.inner_text("#orders")  # the game is for networks without functions


# -- the game ---------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("clicks", [((1, 2), (0, 5), (3, 4), (6, 7)), ((0, 4), (5, 2), (6, 1), (7, 3))])
def test_the_games_total_is_the_plans(opened, clicks):
    page = opened(tk.view(CHAIN))
    page.locator("#orders input").last.check()
    for pair in clicks:
        for slot in pair:
            page.locator(f'#network [data-slot="{slot}"]').click(force=True)
    path = [tuple(pair) for pair in page.evaluate("ownPath()")]
    total = page.evaluate("shown.track.total")
    assert total == tk.plan(CHAIN, path).flops and page.evaluate("left().length") == 1
    assert "FLOPs" in text(page, "#card .what") and page.is_disabled("#finish")
    page.click("#undo")
    assert page.evaluate("left().length") == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(0, 40, 5))
def test_any_network_can_be_finished(opened, seed):
    """With traces, indices summed on one node, hyperedges, scalars: the total is that of the plan by the same path."""
    net, _ = random_network(seed)
    if len(net.nodes) < 3:
        pytest.skip("too small for a game")
    page = opened(tk.view(net))
    page.locator("#orders input").last.check()
    page.click("#finish")
    path = [tuple(pair) for pair in page.evaluate("ownPath()")]
    assert len(path) == len(net.nodes) - 1 and page.evaluate("shown.track.total") == tk.plan(net, path).flops


@pytest.mark.slow
def test_the_game_by_keys(opened):
    page = opened(tk.view(CHAIN))
    page.locator("#orders input").last.check()
    first, second = (page.locator(f'#network [data-slot="{k}"]') for k in (1, 2))
    assert first.get_attribute("role") == "button" and "core_1" in first.get_attribute("aria-label")
    first.focus()
    page.keyboard.press("Enter")
    assert page.locator('#network [data-slot="1"]').get_attribute("aria-pressed") == "true"
    costs = page.evaluate("pairCost(shown.net, left(), left()[1], left()[2])")
    assert f"costs {costs:,} FLOPs" in second.get_attribute("aria-label")
    second.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("left().length") == 4
    assert page.evaluate("document.activeElement.dataset.slot") == "5"  # the focus is on what was made
    page.keyboard.press("u")
    assert page.evaluate("left().length") == 5


# -- keys, links, names for screen readers ----------------------------------------------------------------------------
@pytest.mark.slow
def test_keys_slider_and_play(opened):
    page = opened(tk.view(CHAIN), reduced_motion="no-preference")
    step = lambda: page.evaluate("shown.step")  # noqa: E731
    for key, at in (
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("End", 4),
        ("ArrowRight", 4),
        ("Home", 0),
        ("ArrowLeft", 0),
    ):
        page.keyboard.press(key)
        assert step() == at
    page.locator("#slider").fill("3")
    assert step() == 3 and page.get_attribute("#slider", "aria-valuetext") == "step 4 of 4"
    page.keyboard.press("Home")
    page.locator("body").focus()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    assert page.inner_text("#play") == "Pause"
    page.wait_for_function("shown.step >= 1", timeout=20_000)
    page.keyboard.press("Space")
    assert page.inner_text("#play") == "Play"


@pytest.mark.slow
def test_a_link_leads_to_a_step(opened):
    viewer = tk.view(CHAIN, tk.tt((2, 2, 2), 2))
    page = opened(viewer, "#net2/auto/1")
    assert page.evaluate("[shown.net.nodes.length, shown.step]") == [3, 1]
    page.keyboard.press("End")
    assert page.evaluate("location.hash") == "#net2/auto/2"
    again = opened(viewer, "#net//1-2.0-5")
    assert again.evaluate("[shown.mode, left().length]") == ["play", 3]
    assert opened(viewer, "#nowhere/at/all").evaluate("shown.step") == 0


@pytest.mark.slow
def test_controls_have_names(opened):
    page = opened(tk.view(CHAIN, tk.tt((2, 2, 2), 2)))
    unnamed = page.evaluate(
        """[...document.querySelectorAll("button, input, svg, fieldset, section, [role]")].filter(e => {
          const label = e.closest("label"), legend = e.querySelector("legend");
          return !(e.getAttribute("aria-label") || e.textContent.trim() || label?.textContent.trim() || legend?.textContent.trim() || e.id === "live");
        }).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert unnamed == []
    assert page.get_attribute("#live", "aria-live") == "polite" and page.get_attribute("html", "lang") == "en"
    for name in ("First step", "One step back", "Play", "One step on", "Last step"):
        assert page.get_by_role("button", name=name, exact=True).count() == 1
    page.keyboard.press("Tab")
    assert (
        page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        or page.evaluate("document.activeElement.type") == "radio"
    )


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_scrolls_sideways(opened, scheme):
    wall = tk.brick_wall(8, 2, 3, "tanh")
    page = opened(
        tk.view(squared_norm(tk.tt((4,) * 6, 4)), wall, title="A_title_without_a_space_" * 4), color_scheme=scheme
    )
    grounds = set()
    for width in (320, 390, 768, 1280, 1600):
        page.set_viewport_size({"width": width, "height": 800})
        for at in ("#net/auto/2", "#net2/auto/9", "#net//0-6"):
            page.evaluate("hash => { location.hash = hash; restore(); }", at)
            page.wait_for_function("width => shown.frame.width <= width", arg=width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (width, at)
            small = page.evaluate(
                "[...document.querySelectorAll('p, button, dd, dt, small')].filter(e => e.offsetParent && parseFloat(getComputedStyle(e).fontSize) < 11.5).length"
            )
            assert small == 0
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    (ground,) = grounds
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == (scheme == "dark")


@pytest.mark.slow
def test_motion_ends_where_it_would_without(opened):
    still, moving = (opened(tk.view(CHAIN), reduced_motion=m) for m in ("reduce", "no-preference"))
    for page in (still, moving):
        page.keyboard.press("ArrowRight")
    moving.wait_for_function(
        "shown.drawn === 1 && document.querySelectorAll('#network .node').length === 4", timeout=20_000
    )
    assert still.inner_html("#network") == moving.inner_html("#network")


# -- large ones, files, what is refused -------------------------------------------------------------------------------
@pytest.mark.slow
def test_large_networks_are_one_small_page(opened):
    net = tk.tt((2,) * 200, 2)
    bra = net.join(conjugate(net), output=(), on=net.output)
    page = opened(tk.view(bra))
    assert len(page.content().encode()) < 3 * MOST_BYTES
    page.keyboard.press("End")
    assert "Done" in page.inner_text("#live") and page.evaluate("shown.track.costs.length") == 399
    bars = page.evaluate(
        "[...document.querySelectorAll('#time .bar')].map(e => e.getAttribute('d').split('M').length - 1)"
    )
    assert bars == [399]  # all of them done


@pytest.mark.slow
def test_two_thousand_nodes():
    nodes = [tk.Node(f"t{k}", (f"b{k}", f"b{k + 1}")) for k in range(2000)]
    ring = tk.Network([*nodes[:-1], tk.Node("t1999", ("b1999", "b0"))], (), {f"b{k}": 2 for k in range(2000)})
    viewer = tk.view(tk.plan(ring, "greedy"))
    assert len(viewer.html.encode()) < MOST_BYTES
    more = tk.Network(
        [tk.Node(f"t{k}", (f"b{k}", f"b{k + 1}")) for k in range(2001)],
        ("b0", "b2001"),
        {f"b{k}": 2 for k in range(2002)},
    )
    with pytest.raises(
        ValueError,
        match=r"^view: a network of at most 2,000 nodes is drawn, got 2,001: merge nodes \(tk.merge\), or give a part$",
    ):
        tk.view(more)
    with pytest.raises(
        ValueError, match=r"^view: the page would take \d+ kB, at most 300 kB are written: give fewer plans, or a part"
    ):
        tk.view(*[tk.plan(ring, "greedy")] * 4, names=list("abcd"))


def test_the_page_is_data_and_nothing_else():
    """Names that look like code stay names."""
    net = tk.Network(
        [tk.Node("</script><b>", ["<!--", "{{data}}"]), tk.Node('"x"', ["{{data}}"])],
        ["<!--"],
        {"<!--": 2, "{{data}}": 3},
    )
    viewer = tk.view(net, title="<i>{{style}}</i>")
    assert len(viewer.html.encode()) < 100_000
    assert viewer.html.count("</script>") == 1 and "<i>" not in viewer.html.split("<style>")[0].replace("</i>", "")
    assert not re.findall(
        r"""(?:src|href)=["'](?!data:)|@import|url\((?!data:)|https?://(?!www\.w3\.org)""", viewer.html
    )


@pytest.mark.slow
def test_strange_names_in_a_browser(opened):
    net = tk.Network(
        [tk.Node("</script><b>", ["<!--", "{{data}}"]), tk.Node('"x"', ["{{data}}"])],
        ["<!--"],
        {"<!--": 2, "{{data}}": 3},
    )
    page = opened(tk.view(net, title="<i>{{style}}</i>"))
    assert page.inner_text("h1") == "<i>{{style}}</i>" and '"x"[{{data}}]' in text(page, "#card .equation")


def test_in_a_notebook():
    viewer = tk.view(CHAIN)
    bundle = viewer._repr_mimebundle_()
    (held,) = re.findall(r'srcdoc="([^"]*)"', bundle["text/html"])
    assert html.unescape(held) == viewer.html and bundle["text/plain"] == repr(viewer)
    assert repr(viewer) == 'Viewer(5 nodes, 3 orders; .save("view.html") writes the page)'


@pytest.mark.slow
def test_in_a_frame(browser):
    """As a notebook shows it: no address to change, and it works all the same."""
    page, said = browser.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.set_content(tk.view(CHAIN)._repr_html_())
    frame = page.frame_locator("iframe")
    frame.locator("#next").click()
    assert "step 2 of 4" in frame.locator("#count").inner_text() and said == []
    page.close()


def test_saving(tmp_path):
    viewer = tk.view(CHAIN)
    path = tmp_path / "x.html"
    path.write_text("old")
    assert (
        viewer.save(str(path)) == path
        and path.read_text() == viewer.html
        and [p.name for p in tmp_path.iterdir()] == ["x.html"]
    )
    with pytest.raises(FileNotFoundError) as caught:
        viewer.save(tmp_path / "none" / "x.html")
    assert caught.value.filename == str(tmp_path / "none" / "x.html")
    with pytest.raises(TypeError, match=r"^view: save: path is a non-empty string or a path, not 3$"):
        viewer.save(3)


def test_what_is_refused():
    with pytest.raises(TypeError, match=r"^view: a Network or a Plan is needed, not 'net'$"):
        tk.view(CHAIN, "net")
    with pytest.raises(
        TypeError, match=r"^view: a Network or a Plan is needed, not \[.*; tk.plan\(net, path\) makes a plan"
    ):
        tk.view(CHAIN, [(0, 1), (0, 1)])
    with pytest.raises(ValueError, match=r"^view: names has one name for each network or plan, 2, not 1$"):
        tk.view(tk.plan(CHAIN), tk.plan(CHAIN, "greedy"), names=["a"])
    with pytest.raises(ValueError, match=r"^view: each order has a name of its own, got 'a' twice: give names=$"):
        tk.view(tk.plan(CHAIN), tk.plan(CHAIN, "greedy"), names=["a", "a"])
    with pytest.raises(TypeError, match=r"^view: title is a non-empty string, not 3$"):
        tk.view(CHAIN, title=3)


def test_the_command(tmp_path, monkeypatch, capsys):
    (tmp_path / "net.json").write_text(tk.to_json(CHAIN))
    monkeypatch.chdir(tmp_path)
    assert main(["view", "net.json"]) == 0 and capsys.readouterr().out == "net.html\n"
    (data,) = json.loads(re.search(r"const DATA = (.*);\n", (tmp_path / "net.html").read_text())[1])
    assert [order["name"] for order in data["orders"]][:1] == ["auto"] and len(data["nodes"]) == 5
    path = [[0, 4], [0, 3], [0, 1], [0, 1]]
    assert main(["view", "net.json", "--out", "own.html", "--path", json.dumps(path)]) == 0
    (data,) = json.loads(re.search(r"const DATA = (.*);\n", (tmp_path / "own.html").read_text())[1])
    assert [order["name"] for order in data["orders"]] == ["auto", "your path"]
    assert data["orders"][1]["flops"] == tk.plan(CHAIN, [tuple(p) for p in path]).flops
    for words, message in (
        (["--path", "no"], "'no' is not a path, such as [[0,1],[0,1]]"),
        (["--optimizer", "auto,best"], "argument --optimizer: unknown name 'best'"),
        (["--path", "[[0,9]]"], "plan"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["view", "net.json", *words])
        error = capsys.readouterr().err
        assert stop.value.code == 2 and message in error and error.count("\n") == 1


def test_the_data_of_the_page_is_the_plans():
    net = tk.peps(2, 3, 2, 2)
    (data,) = json.loads(re.search(r"const DATA = (.*);\n", tk.view(tk.plan(net)).html)[1])
    (order,) = data["orders"]
    steps = tk.plan(net).timeline
    assert [step[2] for step in order["steps"]] == [step.flops for step in steps]
    assert [step[4] for step in order["steps"]] == [step.live for step in steps]
    assert data["given"] == 8 * sum(map(prod, net.array_shapes.values()))
