"""The explorer in a real browser: what is on the page is what `Network.steps` and `net.predict` give."""

from __future__ import annotations

import copy
import re
import threading
import time

import numpy as np
import pytest
from conftest import ROOT

import scratchnet as sn
from scratchnet.explorer.export import export_page
from scratchnet.explorer.opening import Opened, Weights, data_for
from scratchnet.explorer.server import Explorer
from scratchnet.network import Loss
from scratchnet.show.subject import small_cnn

WIDE, MEDIUM, PHONE = (1920, 1080), (1024, 768), (390, 844)
SIZES = {"three fields": (1440, 1000), "two": MEDIUM, "one": PHONE}


def net_of_every_kind():
    """Each kind of layer that a stage can be, small enough that a page of it is quick."""
    rng = np.random.default_rng(5)
    return sn.Network(
        [
            sn.Resize(20),
            sn.Conv2D(1, 3, 3, stride=2, padding=1, bias=False, rng=rng),
            sn.BatchNorm(3),
            sn.ReLU(),
            sn.AvgPool2D(3, stride=1, padding=1),
            sn.DepthwiseConv2D(3, 3, multiplier=2, bias=True, rng=rng),
            sn.PointwiseConv2D(6, 4, rng=rng),
            sn.MaxPool2D(3, stride=2),
            sn.Flatten(),
            sn.Dropout(0.3),
            sn.Dense(64, 10, rng=rng),
        ],
        input_shape=(28, 28, 1),
        name="every_kind",
    )


@pytest.fixture(scope="module")
def good(sample):
    """A small network that was trained a little, and its first weights."""
    with sn.use_engine("numpy"):
        net = small_cnn()
        first = Weights.of(net)
        sn.fit(net, sample[0], optimizer=sn.Adam(net.parameters(), 2e-3), steps=60, batch_size=32, progress=False)
    return net, first


@pytest.fixture
def serve(sample):
    """A function that serves a network; what it served is ended after the test."""
    begun = []

    def start(net, first=None, data=None):
        test, training = (data, data) if data else (sample[1][:60], sample[0][:640])
        explorer = Explorer(Opened(net, test, training, first, ["net.safetensors"]))
        thread = threading.Thread(target=explorer.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        begun.append((explorer, thread))
        return explorer

    with sn.use_engine("numpy"):
        yield start
        for explorer, thread in begun:
            explorer.end()
            thread.join()


class Page:
    """A page of the explorer as a user has it; whatever goes wrong in the browser is noted."""

    def __init__(self, browser, address, size=SIZES["three fields"], tour=False, **options):
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        self.page = self.context.new_page()
        self.wrong = []
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.wrong.append(m.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        if not tour:
            self.page.add_init_script("try { localStorage.setItem('scratchnet-explorer-tour', 'seen') } catch { }")
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready]", timeout=30_000)
        self.settled()  # the stage that the address names has asked for its number

    def settled(self):
        """Wait until the page has all answers that it asked for."""
        for _ in range(2):  # an answer may lead to a question
            self.page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 5)))")
            self.until("document.body.getAttribute('aria-busy') !== 'true'")

    def until(self, condition, seconds=30):
        """Wait for an expression to be true. (Playwright's own way is refused by the page's security policy.)"""
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"waited in vain for {condition}"
            time.sleep(0.01)

    def go(self, stage):
        self.page.locator(f"#strip button[aria-label^='stage {stage + 1}:']").click()
        self.settled()

    def point_at(self, array, row, column, rows, columns):
        """Move the mouse over a number of a map."""
        box = self.page.locator(f"[data-array='{array}'] .map canvas").bounding_box()
        x, y = (box["x"] + (column + 0.5) * box["width"] / columns, box["y"] + (row + 0.5) * box["height"] / rows)
        if y > self.page.viewport_size["height"] - 10 or y < 0:
            self.page.locator(f"[data-array='{array}']").scroll_into_view_if_needed()
            return self.point_at(array, row, column, rows, columns)
        self.page.mouse.move(x, y)
        self.settled()
        return None

    def number(self):
        """The name and the index of the number that is shown, and its text."""
        text = self.page.inner_text("#number-value")
        name, places, value = re.fullmatch(r"([^[]+)(?:\[([\d, ]+)\])? = (\S+)", text).groups()
        return name, tuple(int(k) for k in places.split(",")) if places else (), value

    def draw_three(self):
        box = self.page.locator("#pad").bounding_box()
        points = [(0.3, 0.25), (0.65, 0.25), (0.45, 0.48), (0.68, 0.65), (0.5, 0.8), (0.3, 0.72)]
        at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.page.mouse.move(*at[0])
        self.page.mouse.down()
        for point in at[1:]:
            self.page.mouse.move(*point, steps=5)
        self.page.mouse.up()
        self.settled()

    def probabilities(self):
        return [float(line.split()[-2]) for line in self.page.locator("#bars li").all_inner_texts()]


@pytest.fixture
def visit(browser):
    """A function that opens a page; at the end of the test nothing may have gone wrong in any."""
    pages = []

    def start(address, *arguments, **options):
        pages.append(Page(browser, address, *arguments, **options))
        return pages[-1]

    yield start
    wrong = [text for page in pages for text in page.wrong]
    for page in pages:
        page.context.close()
    assert wrong == []


def agrees(text, value):
    """Whether a number's text is this value, to the last digit shown."""
    digits = re.sub(r"e.*", "", text).replace("-", "").replace(".", "").lstrip("0")
    shown = float(text)
    if shown == 0:
        return value == 0
    unit = 10.0 ** (np.floor(np.log10(abs(shown))) - max(len(digits), 1) + 1)
    return abs(shown - value) <= 0.51 * unit


def test_numbers_are_compared_to_the_last_digit():
    assert agrees("1.234", 1.2344)
    assert not agrees("1.234", 1.2351)
    assert agrees("-0.001200", -0.0012004)
    assert not agrees("-0.001200", 0.0012)
    assert agrees("1.235e-7", 1.2349e-7)
    assert not agrees("0", 1e-9)


# ---------------------------------------------------------------- what is on the page


@pytest.mark.slow
def test_a_drawn_digit_gets_the_probabilities_of_predict(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address)
    page.draw_three()
    (session,) = explorer.pages.values()
    expected = session.net.predict(session.x)[0]
    np.testing.assert_allclose(page.probabilities(), 100 * expected, atol=0.0501)
    assert session.x.sum() > 40, "a stroke was seen"
    assert page.page.input_value("#label") == str(expected.argmax())
    seen = page.page.evaluate("""() => {
        const canvas = document.getElementById("seen");
        return [canvas.width, canvas.height, ...canvas.getContext("2d").getImageData(0, 0, 28, 28).data]; }""")
    assert seen[:2] == [28, 28]
    blue = np.array(seen[2:]).reshape(28, 28, 4)[..., 2]  # zero is white, ink has no blue
    np.testing.assert_array_equal(blue < 128, (session.x[0, ..., 0] ** 0.6) > 0.5)
    page.page.click("#clear")
    page.settled()
    assert not session.x.any()


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_each_kind_of_layer_shows_the_numbers_of_the_steps(serve, visit, sample, direction):
    """At three places of each stage, found with the mouse: the number and the sum of its terms, to the last digit."""
    net = net_of_every_kind()
    page = visit(serve(net).address + "#digit=0")
    steps = list(net_of_every_kind().steps(sample[1].images[:1], sample[1].labels[:1]))
    rng = np.random.default_rng(1)
    made = {"forward": "out", "backward": "dx"}[direction]
    looked_at = set()
    for stage, step in enumerate(steps):
        if step.direction != direction or isinstance(step.layer, Loss):
            continue
        page.go(stage)
        array = np.asarray(step.output)
        for _ in range(3):
            if array.ndim == 4:
                place = rng.integers(array.shape[1]), rng.integers(array.shape[2])
                page.point_at(made, *place, *array.shape[1:3])
            elif array.size > 16:
                columns = int(np.ceil(np.sqrt(array.size)))
                page.point_at(made, *divmod(int(rng.integers(array.size)), columns), -(-array.size // columns), columns)
            else:
                page.page.locator(f"[data-array='{made}'] li").nth(int(rng.integers(array.size))).hover()
                page.settled()
            name, index, text = page.number()
            assert (name, len(index)) == (made, array.ndim)
            assert agrees(text, float(array[index])), (step.layer.name, index, text, array[index])
            shown = page.page.locator("#number-parts b").last.inner_text()
            assert abs(float(shown) - array[index]) <= 2e-3 * max(abs(array[index]), 1e-3 * np.abs(array).max()), (
                step.layer.name, index, shown, array[index],
            )  # fmt: skip
            looked_at.add(step.layer.kind)
    assert looked_at == {layer.kind for layer in net.layers}


@pytest.mark.slow
def test_the_loss_is_shown_term_by_term(serve, visit, good, sample):
    net, _ = good
    page = visit(serve(net).address + "#digit=0")
    forward, backward = (s for s in net.steps(sample[1].images[:1], sample[1].labels[:1]) if isinstance(s.layer, Loss))
    page.go(8)
    label = int(sample[1].labels[0])
    assert agrees(page.page.inner_text("[data-array='loss'] .scalar"), forward.output)
    name, index, text = page.number()
    p = sn.softmax(forward.input)[0, label]
    assert (name, index, agrees(text, p)) == ("p", (0, label), True)
    page.go(9)
    name, index, text = page.number()
    assert (name, index, agrees(text, backward.output[0, label])) == ("dlogits", (0, label), True)
    assert "is label" in page.page.inner_text("#number-parts")


@pytest.mark.slow
def test_the_line_of_code_is_the_one_that_made_the_array(serve, visit, good):
    page = visit(serve(*good).address)
    page.go(14)  # conv2 backward
    marked = page.page.locator("#code-lines [aria-current]")
    assert "dx = col2im(dcolumns" in marked.inner_text()
    page.page.locator("[data-array='dw'] .map").click()
    page.settled()
    assert "dw = (columns.T @ dout_rows)" in marked.inner_text()
    line = int(marked.get_attribute("data-line"))
    text = (ROOT / "scratchnet/layers/conv.py").read_text(encoding="utf-8").splitlines()[line - 1]
    assert text.strip() == marked.inner_text().strip()


@pytest.mark.slow
def test_what_if_on_the_page(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address)
    page.page.locator("[data-array='w'] .map").click()
    page.settled()
    assert "conv1.w[" in page.page.inner_text("#what-if-target")
    page.page.fill("#delta", "0.01")
    page.page.click("#what-if-form button[type=submit]")
    page.page.wait_for_selector("#happened")
    page.settled()
    (session,) = explorer.pages.values()
    _, index = re.search(r"(conv1\.w)\[([\d, ]+)\]", page.page.inner_text("#what-if-target")).groups()
    net = small_cnn()
    Weights.of(good[0]).put_into(net)
    x, label = session.x, np.array([session.label])
    list(net.steps(x, label))
    w = net.layers[0].w
    place = tuple(map(int, index.split(", ")))
    grad, before = w.grad[place], loss_of(net, x, label)
    w.value[place] += np.float32(0.01)
    assert agrees(page.page.inner_text("#loss-after"), loss_of(net, x, label))
    happened = float(page.page.inner_text("#happened"))
    assert happened == pytest.approx(loss_of(net, x, label) - before, rel=2e-3)
    assert float(page.page.inner_text("#predicted").split("=")[1]) == pytest.approx(grad * 0.01, rel=2e-3)
    page.page.click("#undo")
    page.settled()
    np.testing.assert_array_equal(session.net.layers[0].w.value, good[0].layers[0].w.value)
    assert page.page.is_disabled("#undo")


def loss_of(net, x, label):
    """In float64, from the weights in float32."""
    copy = small_cnn()
    Weights.of(net).put_into(copy)
    copy.astype(np.float64)
    return sn.softmax_cross_entropy(copy.forward(x.astype(np.float64)), label)[0]


@pytest.mark.slow
def test_another_label_has_another_loss(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address)
    page.draw_three()
    (session,) = explorer.pages.values()
    label = (session.label + 1) % 10
    page.page.select_option("#label", str(label))
    page.settled()
    loss = loss_of(good[0], session.x, np.array([label]))
    assert agrees(page.page.inner_text("#label-after"), loss)
    assert float(re.search(r"loss (\S+)", page.page.inner_text("#where"))[1]) == pytest.approx(loss, rel=1e-3)
    page.draw_three()
    assert session.label == label, "it stays while one draws on"
    page.page.click("#clear")
    page.settled()
    page.draw_three()
    assert session.label != label


class Twice(sn.Layer):
    """A layer of one's own, which the explorer does not know."""

    kind = "twice"

    def forward(self, x, training=False):
        self.check_input(x)
        return 2 * x

    def backward(self, dout, need_dx=True):
        return 2 * self.check_dout(dout)


OTHERS = {
    "own layer": lambda: sn.Network([Twice(), sn.Flatten(), sn.Dense(784, 10)], (28, 28, 1)),
    "colour": lambda: sn.Network([sn.Conv2D(3, 4, 3), sn.ReLU(), sn.Flatten(), sn.Dense(144, 4)], (6, 6, 3)),
    "rows": lambda: sn.Network([sn.Dense(12, 8), sn.BatchNorm(8), sn.ReLU(), sn.Dense(8, 3)], (12,)),
    "large": lambda: sn.Network([sn.Conv2D(1, 2, 3), sn.MaxPool2D(50), sn.Flatten(), sn.Dense(50, 2)], (250, 250, 1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(OTHERS))
def test_networks_for_other_inputs_can_be_walked(serve, visit, kind):
    net = OTHERS[kind]()
    data = data_for(net)[1]
    explorer = serve(net, data=data)
    page = visit(explorer.address)
    for stage in range(page.page.locator("#strip button").count()):
        page.go(stage)
        assert page.page.is_hidden("#fault"), page.page.inner_text("#fault")
        assert page.page.inner_text("#value") != "not a number"
    assert page.page.is_visible("#pad") == (kind in ("large", "own layer"))
    if kind == "own layer":
        page.go(0)
        assert "return 2 * x" in page.page.inner_text("#code-lines")


@pytest.mark.slow
def test_learning_on_the_page(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address)
    page.page.select_option("#label", "3")
    page.settled()
    page.page.click("#one-step")
    page.page.wait_for_selector("#step-after")
    assert float(page.page.inner_text("#step-after")) < float(page.page.inner_text("#step-before"))
    page.page.click("#train")
    page.until("document.querySelectorAll('#curve polyline')[0].points.numberOfItems > 3")
    (session,) = explorer.pages.values()
    assert session.trainer.running
    page.page.locator("#strip button[aria-label^='stage 4:']").click()  # to look inside meanwhile
    page.until("document.getElementById('where').textContent.includes('stage 4 of 18')")
    page.until("document.getElementById('learn-result').textContent.includes('test images')")
    page.page.click("#train")
    page.until("document.getElementById('train').textContent === 'Go on training'")
    steps = len(session.trainer.losses)
    page.settled()
    assert f"{steps} steps" in page.page.inner_text("#learn-result")
    assert "of the first 60 test images right" in page.page.inner_text("#learn-result")
    page.page.click("#rewind")
    page.settled()
    np.testing.assert_array_equal(session.net.layers[3].w.value, good[0].layers[3].w.value)
    page.page.click("#rewind-first")
    page.settled()
    np.testing.assert_array_equal(session.net.layers[3].w.value, good[1].values["conv2.w"])


@pytest.mark.slow
def test_closing_the_page_ends_its_training(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address)
    (session,) = explorer.pages.values()
    page.page.click("#train")
    page.until("document.getElementById('train').textContent === 'Pause'")
    assert session.trainer.running
    page.page.close()
    for _ in range(200):
        if not session.trainer.running:
            break
        threading.Event().wait(0.02)
    assert not session.trainer.running


@pytest.mark.slow
def test_two_pages_in_one_browser_have_two_networks(serve, visit, good):
    explorer = serve(*good)
    one, two = visit(explorer.address), visit(explorer.address)
    before = two.probabilities()
    one.draw_three()
    one.page.click("#one-step")
    one.page.wait_for_selector("#step-after")
    two.page.select_option("#label", str(int(np.argmax(before))))
    two.settled()
    assert two.probabilities() == before


@pytest.mark.slow
def test_the_keyboard_is_enough(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address)
    keys = page.page.keyboard
    page.page.evaluate("document.activeElement.blur()")
    for _ in range(3):
        keys.press("ArrowRight")
    page.settled()
    assert "stage 4 of 18" in page.page.inner_text("#where")
    for key, stage in (("End", 18), ("ArrowLeft", 17), ("Home", 1)):
        keys.press(key)
        page.settled()
        assert f"stage {stage} of 18" in page.page.inner_text("#where")
    reached = set()
    for _ in range(120):
        keys.press("Tab")
        focused = page.page.evaluate("""() => {
            const e = document.activeElement, array = e.closest("figure")?.dataset.array ?? "";
            return [e.id, e.className, array, getComputedStyle(e).outlineStyle]; }""")
        reached.add(focused[0] or focused[1])
        assert focused[3] != "none", f"{focused} does not show that it has the focus"
        if focused[1] == "map" and focused[2] == "out":
            break
    assert {"digit", "label", "play", "help"} <= reached, reached
    keys.press("Enter")
    _, (n, i, j, f), _ = page.number()
    for key in ("ArrowDown", "ArrowRight", "ArrowUp", "ArrowUp", "ArrowRight"):
        keys.press(key)
    page.settled()
    assert page.number()[1] == (n, i - 1, j + 2, f)
    page.page.focus("#digit")
    keys.press("Control+a")
    keys.type("7")
    keys.press("Enter")
    page.settled()
    (session,) = explorer.pages.values()
    assert session.digit == 7


@pytest.mark.slow
def test_everything_has_a_name_for_a_screen_reader(serve, visit, good):
    page = visit(serve(*good).address)
    for stage in (3, 7, 8, 14):
        page.go(stage)
        nameless = page.page.evaluate("""() => [...document.querySelectorAll(
            "button, input, select, [tabindex='0'], [role=img], canvas:not([aria-hidden])")]
          .filter((e) => e.offsetParent !== null && !e.closest("[aria-hidden=true]"))
          .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length || e.title
            || e.getAttribute("aria-labelledby") || (e.tagName === "CANVAS" && e.closest("[aria-label]"))))
          .map((e) => e.outerHTML.slice(0, 120))""")
        assert nameless == []
        assert page.page.evaluate("document.querySelectorAll('h1').length") == 1


@pytest.mark.slow
@pytest.mark.parametrize("size", [PHONE, (600, 800), MEDIUM, (1240, 900), WIDE], ids=str)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_any_width(serve, visit, good, size, scheme):
    page = visit(serve(*good).address, size, color_scheme=scheme)
    for stage in (0, 3, 7, 8, 9, 14, 17):
        page.go(stage)
        wide = page.page.evaluate("""() => {
            const width = document.documentElement.scrollWidth, right = (e) => e.getBoundingClientRect().right;
            const wrong = width > innerWidth ? [`the page is ${width} pixels wide`] : [];
            for (const e of document.querySelectorAll(".card, .map, figure.array, table, .grids, #math"))
              if (e.offsetParent && right(e) > right(e.closest(".card")) + 1) wrong.push(e.className || e.tagName);
            return wrong; }""")
        assert wide == [], (stage, wide)
    background = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 200) == (scheme == "dark")


@pytest.mark.slow
def test_nothing_jumps_while_a_digit_is_drawn_and_numbers_are_pointed_at(serve, visit, good):
    page = visit(serve(*good).address)
    page.go(3)
    places = """() => ["row", "layer", "number", "what-if", "code"].map((id) => {
        const box = document.getElementById(id).getBoundingClientRect(); return [box.left, box.top, box.width]; })"""
    before = page.page.evaluate(places)
    page.draw_three()
    for place in ((0, 0), (6, 6), (13, 13)):
        page.point_at("out", *place, 14, 14)
        assert page.page.evaluate(places)[:3] == before[:3]
        assert page.page.evaluate(places)[3:] == before[3:]


@pytest.mark.slow
def test_the_first_visit_has_a_tour_that_can_be_skipped(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address, tour=True)
    assert len(re.findall(r"\.( |$)", page.page.inner_text("#tour-text"))) == 3, "three sentences"
    page.page.click("#tour-next")
    assert "1 of 7" in page.page.inner_text("#tour-count")
    assert page.page.locator(".toured").get_attribute("id") == "draw"
    page.page.keyboard.press("Escape")
    assert not page.page.is_visible("#tour")
    assert page.page.evaluate("document.activeElement.ariaLabel").startswith("stage 1:")
    page.page.reload()
    page.page.wait_for_selector("body[data-ready]")
    assert not page.page.is_visible("#tour"), "once is enough"
    page.page.click("#help")
    assert page.page.is_visible("#tour")


@pytest.mark.slow
def test_a_server_that_has_ended_is_said_in_a_sentence(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address)
    explorer.close_page(next(iter(explorer.pages)))
    page.page.fill("#digit", "4")
    page.page.press("#digit", "Enter")
    page.page.wait_for_selector("#fault:not([hidden])")
    assert "Load it again" in page.page.inner_text("#fault")
    assert all("400" in text for text in page.wrong), page.wrong
    page.wrong.clear()


# ---------------------------------------------------------------- nothing that misleads


@pytest.mark.slow
def test_zeros_have_no_power_of_ten_and_no_bar(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address)
    page.go(14)  # conv2 backward
    (session,) = explorer.pages.values()
    rows, columns, _ = session.recording.arrays[14]["dx"].shape
    channel = page.number()[1][-1]
    place = next(
        (i, j)
        for i, j in np.ndindex(rows, columns)
        if 0 in session.recording.explain(14, "dx", (i, j, channel))["sums"][0]["layers"]
    )
    page.point_at("dx", *place, rows, columns)
    bars = page.page.evaluate(
        """[...document.querySelectorAll(".layers button")].map((button) =>
            [button.title.split(": ")[1], button.firstChild.style.height])"""
    )
    assert any(float(value) == 0 for value, _ in bars)
    assert all((float(value) == 0) == (height == "0%") for value, height in bars)
    assert "w, turned by 180°" in page.page.inner_text("#number-parts")
    page.page.click("#clear")
    page.settled()
    page.go(0)
    captions = page.page.locator("#number-parts figcaption").all_inner_texts()
    assert captions[::2] == ["x", "product"]


@pytest.mark.slow
def test_the_next_drawing_gets_its_own_label_and_an_image_can_be_chosen_again(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address)
    (session,) = explorer.pages.values()
    own = (int(session.net.predict(image_drawn(page, session))[0].argmax()) + 1) % 10
    page.page.fill("#digit", "0")
    page.page.press("#digit", "Enter")
    page.settled()
    assert not session.drawn
    page.page.select_option("#label", str(own))
    page.settled()
    page.draw_three()
    assert session.label != own
    assert page.page.input_value("#digit") == ""


def image_drawn(page, session):
    page.draw_three()
    return session.x


@pytest.mark.slow
def test_results_of_what_is_no_more_are_cleared(serve, visit, good):
    page = visit(serve(*good).address)
    page.page.locator("[data-array='w'] .map").click()
    page.settled()

    def said():
        return [page.page.inner_text(f"#{name}-result") for name in ("what-if", "learn")]

    page.page.click("#what-if-form button[type=submit]")
    page.page.wait_for_selector("#happened")
    page.page.click("#undo")
    page.until("document.getElementById('what-if-result').textContent.startsWith('Taken back')")
    assert said() == ["Taken back: the change of the weight.", ""]
    page.page.click("#one-step")
    page.page.wait_for_selector("#step-after")
    page.settled()
    assert said()[0] == ""
    page.page.click("#copy-pdb")
    page.until("document.getElementById('copied').textContent.includes('weights were changed')")
    page.go(3)
    assert page.page.inner_text("#copied") == ""
    page.page.fill("#digit", "4")
    page.page.press("#digit", "Enter")
    page.settled()
    assert said() == ["", ""]


@pytest.mark.slow
def test_a_network_that_is_sure_has_tiny_gradients_and_says_so(serve, visit, good, sample):
    net = copy.deepcopy(good[0])
    last = net.layers[-1]
    last.w.value, last.b.value = 40 * last.w.value, 40 * last.b.value
    right = net.predict(sample[1].images[:60]).argmax(axis=1) == sample[1].labels[:60]
    digit = int(np.flatnonzero(right)[0])
    page = visit(serve(net).address)
    page.page.fill("#digit", str(digit))
    page.page.press("#digit", "Enter")
    page.settled()
    assert page.page.is_visible("#sure")
    page.page.select_option("#label", str((int(sample[1].labels[digit]) + 1) % 10))
    page.settled()
    assert not page.page.is_visible("#sure")


@pytest.mark.slow
def test_the_weights_of_a_pointwise_number_are_framed_and_an_argmax_is_explained(serve, visit):
    page = visit(serve(net_of_every_kind()).address)
    page.go(6)
    f = page.number()[1][-1]
    frame = page.page.evaluate(
        "(({ left, top, width, height }) => [left, top, width, height].map(parseFloat))"
        "(document.querySelector('[data-array=w] .touched').style)"
    )
    assert frame == [25 * f, 0, 25, 100]
    page.go(7)
    page.point_at("argmax", 0, 0, 4, 4)
    assert "Which number of the window" in page.page.inner_text("#number-parts")


@pytest.mark.slow
@pytest.mark.parametrize("click", ["#strip button[aria-label^='stage 6:']", "[data-array='out'] .map"])
def test_a_click_pauses(serve, visit, good, click):
    page = visit(serve(*good).address)
    page.page.click("#play")
    assert page.page.inner_text("#play") == "Pause"
    page.page.locator(click).click()
    page.settled()
    assert page.page.inner_text("#play") == "Play"


@pytest.mark.slow
def test_the_row_is_one_stop_of_the_tab_key(serve, visit, good):
    page = visit(serve(*good).address)
    page.go(4)
    assert page.page.locator("#strip button[tabindex='0']").count() == 1
    page.page.keyboard.press("ArrowRight")
    page.settled()
    assert page.page.evaluate("document.activeElement.ariaLabel").startswith("stage 6:")
    page.page.keyboard.press("Tab")
    assert not page.page.evaluate("document.getElementById('strip').contains(document.activeElement)")


@pytest.mark.slow
def test_after_copying_the_page_says_how_to_see_the_number(serve, visit, good):
    page = visit(serve(*good).address, permissions=["clipboard-read", "clipboard-write"])
    for stage, said in ((14, "Type n, then p dx[0, "), (1, "Type n, then retval.")):
        page.go(stage)
        page.page.click("#copy-pdb")
        page.until("document.getElementById('copied').textContent.includes('Type n')")
        assert said in page.page.inner_text("#copied")
        assert "scratchnet.explorer.again" in page.page.evaluate("navigator.clipboard.readText()")


@pytest.mark.slow
def test_long_lines_and_narrow_windows_cut_nothing(serve, visit, good):
    page = visit(serve(*good).address, (1245, 900))
    page.page.evaluate("document.getElementById('fault').hidden = false; scrollTo(0, 1e5)")
    assert page.page.locator("#fault").bounding_box()["y"] >= 0
    for stage in (0, 14):
        page.go(stage)
        tops = [page.page.locator("#main-arrays .array").nth(k).bounding_box()["y"] for k in range(2)]
        assert tops[0] == tops[1]
        assert page.page.evaluate(
            "(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)(document.getElementById('code-lines'))"
        )


# ---------------------------------------------------------------- the exported page


@pytest.fixture(scope="module")
def exported(sample, good, tmp_path_factory):
    """Exported pages: of a small network, of one with every kind of layer, and of the largest of the three."""
    folder = tmp_path_factory.mktemp("exported")
    nets = {"small": good[0], "every": net_of_every_kind(), "standard": sn.models.standard_cnn()}
    with sn.use_engine("numpy"):
        for name, net in nets.items():
            export_page(Opened(net, sample[1], sample[0], None, None), folder / f"{name}.html", digit=3)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "every", "standard"])
def test_an_exported_page_opens_from_disk_with_no_network(exported, visit, name):
    path = exported / f"{name}.html"
    assert path.stat().st_size <= 10e6
    page = visit(path.as_uri(), offline=True)
    stages = page.page.locator("#strip button").count()
    for stage in range(stages):
        page.go(stage)
        assert f"stage {stage + 1} of {stages}" in page.page.inner_text("#where")
        assert page.page.inner_text("#value") != "not a number"
        assert page.page.locator("#code-lines [aria-current]").count() == 1
    assert not page.page.is_visible("#pad")
    assert not page.page.is_visible("#learn")
    assert not page.page.is_visible("#copy-pdb")
    strip, last = page.page.locator("#strip").bounding_box(), page.page.locator(".column").last.bounding_box()
    assert last["x"] + last["width"] <= strip["x"] + strip["width"] + 1, "the loss is in view"


@pytest.mark.slow
def test_the_tour_of_an_exported_page_speaks_of_no_pad(exported, visit):
    page = visit((exported / "small.html").as_uri(), tour=True, offline=True)
    said = []
    while page.page.is_visible("#tour"):
        said.append(page.page.inner_text("#tour-text"))
        page.page.click("#tour-next")
    assert len(said) == 6
    assert not any("Draw" in text or "button" in text for text in said)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["every", "standard"])
def test_an_exported_page_takes_numbers_apart_as_python_does(exported, visit, sample, name):
    """`sums.js` and `sums.py` follow the same data: the same answer, for numbers of every array of every stage."""
    from scratchnet.explorer.recording import Recording

    net = net_of_every_kind() if name == "every" else sn.models.standard_cnn()
    with sn.use_engine("numpy"):
        recording = Recording(net, sample[1].images[3:4], int(sample[1].labels[3]), True)
    page = visit((exported / f"{name}.html").as_uri(), offline=True)
    rng = np.random.default_rng(0)
    for stage, numbers in enumerate(recording.numbers):
        for array in numbers:
            shape = recording.arrays[stage][array].shape
            for layer in (None, 1):
                index = [int(rng.integers(size)) for size in shape]
                theirs = page.page.evaluate("(given) => window.explainHere(...given)", [stage, array, index, layer])
                compare(theirs, recording.explain(stage, array, index, layer), f"{stage} {array}{index}")


def compare(theirs, ours, where):
    assert theirs["value"] == pytest.approx(ours["value"], rel=1e-5, abs=1e-12), where
    for one, other in zip(theirs["sums"], ours["sums"], strict=True):
        assert one["over"] == other["over"], where
        assert one["factors"] == other["factors"], where
        assert one["turned"] == other["turned"], where
        assert one["total"] == pytest.approx(other["total"], rel=1e-4, abs=1e-9), where
        for key in ("first", "layer"):
            assert one.get(key) == other.get(key), (where, key)
        for key in ("grid", "products", "values"):
            if key in other:
                mine = np.array(other[key], float)
                np.testing.assert_allclose(np.array(one[key], float), mine, rtol=1e-5, atol=1e-12, err_msg=where)
        if "terms" in other:
            for mine, yours in zip(one["terms"], other["terms"], strict=False):
                assert mine["product"] == pytest.approx(yours["product"], rel=1e-4, abs=1e-12), where
            rest = one["rest"]["sum"] + sum(term["product"] for term in one["terms"])
            assert rest == pytest.approx(other["total"], rel=1e-4, abs=1e-7), where
        elif one["touched"]:
            assert one["touched"] == other["touched"], where


@pytest.mark.slow
def test_an_address_can_name_a_stage(exported, visit):
    page = visit((exported / "small.html").as_uri() + "#conv2-backward", offline=True)
    assert "stage 15 of 18: conv2 backward" in page.page.inner_text("#where")


# ---------------------------------------------------------------- what a newcomer looks for


def boxes(page, *selectors):
    found = [page.page.locator(selector).first.bounding_box() for selector in selectors]
    return [(box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]) for box in found]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(768, 1024), (1000, 800), (1280, 800), (1440, 900)], ids=str)
def test_number_picture_and_code_are_side_by_side(serve, visit, good, size):
    page = visit(serve(*good).address + "#stage=15", size)
    page.page.locator("[data-array='dx'] .map").click()
    page.settled()
    picture, value, line = boxes(page, "[data-array='dx'] .map", "#number-value", "#to-line")
    for left, top, right, bottom in (picture, value, line):
        assert left >= 0
        assert right <= size[0]
        assert top >= 0
        assert bottom <= size[1]
    assert value[0] >= picture[2], "beside the picture, not below it"
    assert "dx = col2im(dcolumns" in page.page.inner_text("#to-line")
    page.page.click("#to-line")
    marked, code = boxes(page, "#code-lines [aria-current]", "#code-lines")
    assert code[1] <= marked[1]
    assert marked[3] <= min(code[3], size[1])


@pytest.mark.slow
def test_on_a_phone_the_number_opens_below_the_map_and_can_be_closed(serve, visit, good):
    page = visit(serve(*good).address + "#stage=4", PHONE, has_touch=True)
    sheet = page.page.locator("#number")
    assert not page.page.is_visible("#close-number")
    page.page.locator("[data-array='out'] .map").tap(position={"x": 60, "y": 200})
    page.settled()
    picture, number = boxes(page, "[data-array='out'] .map", "#number")
    assert 0 <= picture[1] < picture[3] <= number[1], "the whole map is seen above"
    assert number[3] == PHONE[1]
    assert number[3] - number[1] <= 0.55 * PHONE[1] + 1
    assert page.number()[0] == "out"
    assert "conv.py" in page.page.inner_text("#to-line")
    page.page.click("#close-number")
    assert sheet.bounding_box()["y"] > PHONE[1] or not page.page.is_visible("#close-number")
    page.page.locator("[data-array='out'] .map").focus()
    page.page.keyboard.press("Enter")
    page.settled()
    page.page.locator("#close-number").focus()
    page.page.keyboard.press("Escape")
    assert not page.page.is_visible("#close-number")
    assert page.page.evaluate("document.activeElement.closest('figure').dataset.array") == "out"


@pytest.mark.slow
def test_images_are_chosen_from_a_strip(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address)
    (session,) = explorer.pages.values()
    (first,) = page.page.locator("#gallery [aria-pressed=true]").all()
    assert int(first.get_attribute("data-digit")) == session.digit
    assert session.net.predict(session.x).argmax() == session.label
    assert page.page.locator("#gallery button[tabindex='0']").count() == 1
    first.focus()
    digits = [int(button.get_attribute("data-digit")) for button in page.page.locator("#gallery button").all()]
    page.page.keyboard.press("ArrowLeft" if digits.index(session.digit) > 1 else "ArrowRight")
    name = page.page.evaluate("document.activeElement.ariaLabel")
    page.page.keyboard.press("Enter")
    page.settled()
    digit, label = map(int, re.match(r"image (\d+): a (\d)", name).groups())
    assert (session.digit, session.label) == (digit, label)
    assert session.data.labels[digit] == label
    assert page.page.input_value("#digit") == str(digit)
    page.draw_three()
    assert page.page.locator("#gallery [aria-pressed=true]").count() == 0


@pytest.mark.slow
def test_a_number_leads_to_what_made_it_and_to_what_uses_it(serve, visit, good):
    page = visit(serve(*good).address + "#stage=4")
    page.page.locator("[data-array='x'] .map").click()
    page.settled()
    name, index, value = page.number()
    assert name == "x"
    page.page.click("#to-maker")
    page.settled()
    assert "stage 3 of 18: pool1 forward" in page.page.inner_text("#where")
    assert page.number() == ("out", index, value)
    page.page.click("#to-user")
    page.settled()
    assert page.number() == ("x", index, value)
    for stage, array, ways in (
        (9, "p", ("made here", "used by softmax_cross_entropy backward →")),
        (11, "dout", ("← made by softmax_cross_entropy backward", "used here")),
        (11, "x", ("← made by flatten1 forward", "used here")),
        (15, "x", ("← made by pool1 forward", "used here")),
        (15, "dw", ("made here", "used by the optimiser")),
        (18, "dx", ("made here", "used by no stage")),
        (1, "x", ("made by no stage", "used here")),
    ):
        page.page.evaluate(f"location.hash = 'stage={stage}&array={array}'")
        page.until(f"document.getElementById('where').textContent.includes('stage {stage} of')")
        page.settled()
        assert page.number()[0] == array
        assert tuple(page.page.inner_text(f"#to-{way}") for way in ("maker", "user")) == ways


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "array", "other"), [(4, "x", "out"), (15, "dout", "dx"), (3, "x", "out")])
def test_an_input_frames_all_that_is_made_of_it(serve, visit, good, stage, array, other):
    """Each number of `other` that the page frames has that input among its terms, and no other one does."""
    explorer = serve(*good)
    page = visit(explorer.address + f"#stage={stage}")
    page.page.locator(f"[data-array='{array}'] .map").click()
    page.settled()
    _, (_, *index), _ = page.number()
    shown = page.page.inner_text("#number-parts")
    ranges = re.search(rf"used by {other}\[0, ([\d:, ]+)\], framed", shown)[1].split(", ")
    framed = [(int(part.split(":")[0]), int(part.split(":")[-1]) - (":" in part)) for part in ranges]
    (session,) = explorer.pages.values()
    recording, rows = session.recording, []
    height, width, _ = recording.arrays[stage - 1][other].shape
    for i, j in np.ndindex(height, width):
        channel = index[2] if stage == 3 else 0
        touched = recording.explain(stage - 1, other, (i, j, channel))["sums"][0]["touched"].get(array)
        if touched and all(low <= k <= high for k, (low, high) in zip(index, touched, strict=True)):
            rows.append((i, j))
    assert framed[:2] == [(min(k), max(k)) for k in zip(*rows, strict=True)]


@pytest.mark.slow
def test_cells_of_the_factors_and_the_product_are_marked_together(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address + "#stage=4")
    page.page.locator(".grids .cells").nth(1).locator("span").nth(7).hover()  # of w: row 1, column 2
    places = page.page.evaluate(
        "[...document.querySelectorAll('.grids .linked:not([hidden])')].map((e) => [e.style.left, e.style.top])"
    )
    assert places == [["40%", "20%"]] * 3
    said = page.page.inner_text(".linked-line")
    x, w, product = map(float, re.fullmatch(r"kh = 1, kw = 2: x (\S+) × w (\S+) = (\S+)", said).groups())
    assert product == pytest.approx(x * w, rel=2e-3, abs=1e-6)
    (session,) = explorer.pages.values()
    _, (_, *index), _ = page.number()
    part = session.recording.explain(3, "out", index)["sums"][0]
    assert agrees(str(w), part["grid"][1][1][2]) or w == pytest.approx(part["grid"][1][1][2], rel=1e-3)
    page.page.focus(".grids")
    page.page.keyboard.press("ArrowDown")
    assert page.page.inner_text(".linked-line").startswith("kh = 2, kw = 2: ")
    assert "stage 4 of 18" in page.page.inner_text("#where"), "the arrow key stayed in the grid"


@pytest.mark.slow
def test_all_kernels_are_seen_on_one_scale(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address + "#stage=4")
    (session,) = explorer.pages.values()
    w = session.net.layers[3].w.value
    KH, KW, C, F = w.shape
    scale, pixels = page.page.evaluate("""() => {
        const c = document.querySelector("[data-kernels='w'] canvas");
        return [c.width, [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]]; }""")
    side = scale // (F * (KW + 1) - 1)
    picture = np.array(pixels).reshape(-1, scale, 4)[::side, ::side]  # a corner of each square, which no stroke reaches
    shown = np.stack([picture[c * 6 : c * 6 + 5, f * 6 : f * 6 + 5] for c in range(C) for f in range(F)])
    values = w.transpose(2, 3, 0, 1).reshape(-1, KH, KW)
    blue = 255 - shown[..., 2]
    positive = values > 0.05 * np.abs(w).max()
    assert np.corrcoef(blue[positive], (values[positive] / np.abs(w).max()) ** 0.6)[0, 1] > 0.999
    assert (shown[values < -0.05 * np.abs(w).max()][:, 0] < 240).all()
    box = page.page.locator("[data-kernels='w'] canvas").bounding_box()
    page.page.locator("[data-kernels='w'] canvas").click(
        position={"x": box["width"] * (6 * 9 + 2.5) / 95, "y": box["height"] * (6 * 5 + 2.5) / 47}
    )
    page.settled()
    name, index, text = page.number()
    assert (name, index) == ("w", (2, 2, 5, 9))
    assert agrees(text, w[index])


@pytest.mark.slow
def test_the_letters_of_a_stage_are_explained(serve, visit):
    page = visit(serve(net_of_every_kind()).address)
    for stage in range(page.page.locator("#strip button").count()):
        page.go(stage)
        listed = page.page.locator("#letters dt").all_text_contents()
        meanings = page.page.locator("#letters dd").all_text_contents()
        assert len(listed) == len(set(listed)) == len(meanings)
        assert all(meanings)
        sums = re.findall(r"sum over ([a-z, ]+) of", page.page.inner_text("#number-parts"))
        arrays = page.page.evaluate("[...document.querySelectorAll('#layer .array')].map((e) => e.dataset.array)")
        wanted = {letter for text in sums for letter in text.split(", ")} | {"x", "out", "dout", "dx"} & set(arrays)
        assert wanted <= set(listed), stage
    page.go(1)
    page.page.click("#glossary summary")
    assert page.page.is_visible("#letters")
    title = page.page.locator("[data-array='out'] figcaption b").get_attribute("title")
    assert title == page.page.locator("#letters dt:text-is('out') + dd").text_content()


@pytest.mark.slow
def test_a_max_pool_shows_the_largest_and_p_the_line_of_softmax(serve, visit, good):
    page = visit(serve(*good).address + "#stage=3")
    assert re.search(r"the largest of 4 = \S+", page.page.inner_text("#number-parts"))
    winner = page.page.locator(".grids .winner:not([hidden])")
    assert winner.count() == 1
    cells = [float(cell) for cell in page.page.locator(".grids .cells span").all_inner_texts()]
    left, top = winner.evaluate("(e) => [parseFloat(e.style.left) / 50, parseFloat(e.style.top) / 50]")
    assert cells[int(2 * top + left)] == max(cells)
    page.go(8)
    assert page.number()[0] == "p"
    assert "return exponentials / exponentials.sum" in page.page.inner_text("#to-line")
    assert page.page.inner_text("#code-file") == "softmax in scratchnet/loss.py"
    page.page.locator("[data-array='-log p'] li").first.hover()
    page.settled()
    assert page.page.inner_text("#code-file") == "softmax_cross_entropy in scratchnet/loss.py"


@pytest.mark.slow
def test_dw_opens_on_its_strongest_kernel(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address + "#stage=15")
    (session,) = explorer.pages.values()
    strength = np.abs(session.recording.arrays[14]["dw"]).sum(axis=(0, 1))
    shown = [int(page.page.input_value(f"[aria-label='{name} of dw']")) for name in ("channel", "filter")]
    assert tuple(shown) == np.unravel_index(strength.argmax(), strength.shape)


@pytest.mark.slow
def test_single_steps_and_the_loss_of_test_images(serve, visit, good):
    explorer = serve(*good)
    page = visit(explorer.address)
    (session,) = explorer.pages.values()
    for step in (1, 2):
        page.page.click("#one-batch")
        page.until(f"document.getElementById('learn-result').textContent.startsWith('{step} step')")
        page.settled()
    assert len(session.trainer.losses) == 2
    assert not session.trainer.running
    curves = "document.querySelectorAll('#curve polyline')[{}].points.numberOfItems"
    assert [page.page.evaluate(curves.format(k)) for k in range(2)] == [2, 1]
    assert agrees(page.page.inner_text("#learn-result").split()[-1], session.trainer.tests[0][1])


@pytest.mark.slow
def test_signs_can_be_read_without_colour(serve, visit, good):
    """In each square of a map, the middle has another grey than the corner if the number is negative."""
    explorer = serve(*good)
    page = visit(explorer.address + "#stage=4")
    (session,) = explorer.pages.values()
    channel = page.number()[1][-1]
    out = session.recording.arrays[3]["out"]
    width, pixels = page.page.evaluate("""() => {
        const c = document.querySelector("[data-array='out'] canvas");
        return [c.width, [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]]; }""")
    grey = np.array(pixels).reshape(width, width, 4)[..., :3] @ [0.3, 0.59, 0.11]
    side = width // 14
    corners, middles = grey[::side, ::side], grey[(side - 1) // 2 :: side, side // 2 :: side]
    marked = np.abs(corners - middles) > 40
    share = out[..., channel] / np.abs(out).max()
    assert marked[share < -0.03].all()
    assert (share < -0.03).sum() > 10
    assert not marked[share > -0.01].any()


@pytest.mark.slow
def test_an_address_can_name_an_array(exported, visit):
    page = visit((exported / "small.html").as_uri() + "#stage=15&array=dw", offline=True)
    assert "stage 15 of 18: conv2 backward" in page.page.inner_text("#where")
    assert page.number()[0] == "dw"
    page.page.evaluate("location.hash = 'conv1-forward&array=w'")
    page.until("document.getElementById('where').textContent.includes('conv1 forward')")
    page.settled()
    assert page.number()[0] == "w"
