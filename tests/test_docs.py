"""The site as readers see it: built without a warning, complete, and readable in a browser without a network."""

from __future__ import annotations

import ast
import html
import importlib
import json
import os
import re
import runpy
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import INSTALL, ROOT, copy_project

import scratchnet as sn
from scratchnet.engine import KERNELS
from scratchnet.explorer.recording import Recording

LESSONS = sorted((ROOT / "lessons").glob("[0-9][0-9]_*.py"))
MATH = sorted(path for path in (ROOT / "docs" / "math").glob("*.rst") if path.stem != "index")
DESKTOP, PHONE = (1280, 800), (390, 844)
LIMIT = 300  # seconds of all processors that a lesson may take: two minutes of two of them, on a slow machine
BUILD_LIMIT = 2400  # seconds

# Run in a loaded page: returns a list of what is wrong with it.
LOOK = """() => {
    const wrong = [];
    for (const image of document.images)
        if (!image.complete || !image.naturalWidth) wrong.push(`image without a picture: ${image.src}`);
    for (const formula of document.querySelectorAll("math")) {
        const box = formula.getBoundingClientRect();
        if (!box.width || !box.height) wrong.push(`formula that is not drawn: ${formula.textContent}`);
    }
    for (const box of document.querySelectorAll("div.math"))
        if (location.pathname.includes("/math/") && box.scrollWidth > box.clientWidth)
            wrong.push(`formula ${box.scrollWidth} pixels wide, in a box of ${box.clientWidth}: ${box.textContent}`);
    const width = document.documentElement.scrollWidth;
    if (width > innerWidth) wrong.push(`${width} pixels wide, in a window of ${innerWidth}`);
    return wrong;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built pages.

    They are built from a copy, so that the project stays clean and no earlier build is used. The build runs all
    lessons, and fails if one of them does. Their time is shown, so what the networks need is compiled before.
    """
    pytest.importorskip("sphinx_gallery", reason=INSTALL)
    subprocess.run([sys.executable, "-m", "scratchnet", "warm-up", "--engine", "numba"], cwd=ROOT, check=True)
    folder = tmp_path_factory.mktemp("site")
    copy_project(folder / "project")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "project/docs", "html"],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "COVERAGE", "SCRATCHNET"))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_LIMIT,
    )
    assert built.returncode == 0, built.stdout
    return folder / "html"


class Reader:
    """Opens pages in a window, and records errors."""

    def __init__(self, browser):
        self.page = browser.new_page()
        self.wrong = []
        self.page.on("console", self.note_error)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.is_local(request.url) or self.wrong.append(f"asks {request.url}"))
        self.page.on("requestfailed", self.note_failure)

    def note_error(self, message):
        if message.type == "error":
            self.wrong.append(f"{message.text} ({message.location['url']})")

    def note_failure(self, request):
        if request.failure != "net::ERR_ABORTED":  # an icon that was still loading when the next page was opened
            self.wrong.append(f"no answer from {request.url} ({request.failure})")

    @staticmethod
    def is_local(url):
        return re.match(r"file://|data:|http://(localhost|127\.0\.0\.1)[:/]", url) is not None

    def problems(self, url, *sizes):
        """What is wrong with the page at this address, in a window of each of these sizes."""
        self.wrong.clear()
        self.page.goto(url)
        looks = []
        for width, height in sizes:
            self.page.set_viewport_size({"width": width, "height": height})
            looks += self.page.evaluate(LOOK)
        return self.wrong + looks


# ---------------------------------------------------------------- the browser test itself


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<p>sound</p>", None),
        ("<img src='missing.png'>", "image without a picture: .*missing.png"),
        ("<script>no_such_function()</script>", "no_such_function is not defined"),
        ("<link rel='stylesheet' href='http://fonts.invalid/x.css'>", "asks http://fonts.invalid/x.css"),
        ("<math></math>", "formula that is not drawn"),
        ("<pre style='width: 500px'>wide</pre>", r"\d+ pixels wide, in a window of 390"),
    ],
)
def test_a_faulty_page_is_noticed(browser, tmp_path, body, expected):
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><meta charset='utf-8'><title>a page</title>{body}")
    problems = Reader(browser).problems(page.as_uri(), DESKTOP, PHONE)
    if expected is None:
        assert problems == []
    else:
        assert any(re.search(expected, problem) for problem in problems), problems


# ---------------------------------------------------------------- formulas


@pytest.fixture
def mathml(monkeypatch):
    """The function that writes formulas."""
    pytest.importorskip("sphinx", reason=INSTALL)
    pytest.importorskip("latex2mathml", reason=INSTALL)
    monkeypatch.syspath_prepend(ROOT / "docs" / "ext")
    import mathml

    return mathml.mathml


def test_a_formula_that_cannot_be_written_is_an_error(mathml):
    assert "<mfrac>" in mathml(r"\frac{1}{2} < \sum_i x_i", "inline")
    assert "&lt;" in mathml("a < b", "inline")
    assert "<munder>" in mathml(r"\sum_i x_i", "block"), "limits below the sum, where there is room"
    with pytest.raises(Exception, match="not a formula"):
        mathml(r"\left( a", "block")
    for latex in (
        r"\nosuch x",
        r"\frac{1}",
        "a & b",
        r"\begin{nosuch} a \\ b \end{nosuch}",
        r"\begin{pmatrix} a \end{pmatrix}^2",
    ):
        with pytest.raises(Exception, match="misread"):
            mathml(latex, "block")


@pytest.mark.slow
def test_formulas_are_laid_out_by_the_browser(mathml, browser):
    page = browser.new_page()
    one_line, two_lines = mathml("x = 1", "inline"), mathml(r"x &= 1 \\ y &= 2", "block")
    page.set_content(f"<p>{one_line}</p><p>{two_lines}</p>")
    heights = page.eval_on_selector_all("math", "all => all.map(math => math.getBoundingClientRect().height)")
    assert heights[1] > 1.8 * heights[0], "two lines are about twice as high as one"


def formulas_of(source):
    """The module whose docstring a page of math shows, and the formulas that the page gives in LaTeX."""
    page = source.read_text(encoding="utf-8")
    module, latex = re.search(r"\.\. formulas:: (\S+)\n((?:\n|   .*\n)*)", page).groups()
    return importlib.import_module(module), [part for part in latex.strip("\n").split("\n\n") if part]


def blocks_of(module):
    """The indented blocks of a module's docstring: its formulas in plain text."""
    parts = re.split(r"\n\s*\n", module.__doc__)
    return [part for part in parts if all(line.startswith("    ") for line in part.splitlines())]


def terms(formulas):
    """Each name with its indices, and each sum with its range, in formulas in plain text or in LaTeX.

    `x[n, i*SH + kh]` and `x_{n,\\, i\\,SH + kh}` are both ("x", "n i SH kh").
    """
    text = re.sub(r"(sum|max|mean) +over ([\w, ]+?) of\b", r"\1[\2]", formulas)
    text = re.sub(r"\\(sum|max)", r"\1", text)
    text = re.sub(r"\\[A-Za-z]+|\\.", " ", text)  # all other commands, and spaces
    text = re.sub(r"\}?_(\w+)", r"[\1]", text)
    text = re.sub(r"\}?_\{([^{}]*)\}", r"[\1]", text)
    found = [
        (name, " ".join(re.findall("[A-Za-z]+", indices))) for name, indices in re.findall(r"(\w*)\[([^][]*)\]", text)
    ]
    return {(name, indices) for name, indices in found if indices}


def test_terms_are_told_apart():
    plain = "dw[kh, f] = sum over n, i of  x[n, i*SH + kh] * dout[n, i, f]"
    latex = r"dw_{kh,f} &= \sum_{n,i} x_{n,\, i\,SH + kh}\; dout_{n,i,f}"
    assert terms(plain) == terms(latex) == {("dw", "kh f"), ("sum", "n i"), ("x", "n i SH kh"), ("dout", "n i f")}
    for right, wrong in (("SH", "SW"), ("n,i}", "n}"), ("dout", "out"), ("dw_{kh,f}", "dw_{f,kh}")):
        assert terms(latex.replace(right, wrong, 1)) != terms(plain)


@pytest.mark.parametrize("source", MATH, ids=lambda source: source.stem)
def test_the_formulas_of_a_page_are_those_of_the_docstring(source):
    module, latex = formulas_of(source)
    blocks = blocks_of(module)
    assert len(latex) == len(blocks), f"{source.name}: a paragraph of LaTeX for each indented block of the docstring"
    for block, formula in zip(blocks, latex, strict=True):
        assert terms(block) == terms(formula), f"{source.name} has {formula}, the docstring has {block}"


# ---------------------------------------------------------------- links to the explorer


def explorer_pages():
    pytest.importorskip("sphinx", reason=INSTALL)
    return runpy.run_path(str(ROOT / "docs" / "ext" / "explorer_pages.py"))


def test_links_to_the_explorer_name_stages_and_arrays_that_are_there(sample):
    """What an address of a recorded page ends with: see `goToHash` in the explorer's main.js."""
    links = [(net, stage) for _, net, stage in explorer_pages()["SHOWN"].values()]
    links += re.findall(r"explorer/(\w+)\.html#([^>]+)>", (ROOT / "docs" / "explorer.rst").read_text(encoding="utf-8"))
    assert len(links) >= 10
    recordings = {}
    with sn.use_engine("numpy"):
        for net in {net for net, _ in links}:
            made = sn.models.ARCHITECTURES[net].make()
            recordings[net] = Recording(made, sample[1].images[:1], 3, True)
    for net, stage in links:
        name, _, array = stage.partition("&array=")
        names = [each.name.replace(" ", "-") for each in recordings[net].stages]
        assert name in names, f"{net} has no stage {name}"
        assert not array or array in recordings[net].arrays[names.index(name)], f"{name} has no {array}"


def test_the_pages_of_some_lessons_lead_to_the_explorer():
    pages = explorer_pages()
    for lesson in pages["SHOWN"]:
        (path,) = [path for path in LESSONS if path.stem == lesson]
        source = [ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")), clean=False)]
        before = source[0]
        pages["lead_there"](None, f"lessons/{lesson}", source)
        (link,) = set(source[0].split("\n")) - set(before.split("\n"))
        assert re.fullmatch(r"\*In the explorer.*:\* `.* <\.\./explorer/\w+\.html#[\w&=-]+>`__\.", link)
        assert source[0].replace(f"{link}\n\n", "") == before
        assert source[0].index("*Part:*") < source[0].index(link)
    source = ["no lesson"]
    pages["lead_there"](None, "explorer", source)
    assert source == ["no lesson"]


@pytest.mark.slow
def test_the_built_lessons_lead_to_pages_that_are_there(site):
    for lesson in explorer_pages()["SHOWN"]:
        page = (site / "lessons" / f"{lesson}.html").read_text(encoding="utf-8")
        (target,) = re.findall(r'href="\.\./(explorer/\w+\.html)#[^"]+"', page)
        assert (site / target).is_file()


# ---------------------------------------------------------------- what is on the pages


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_every_lesson_is_a_page_with_all_its_figures(site, lesson):
    page = (site / "lessons" / f"{lesson.stem}.html").read_text(encoding="utf-8")
    drawn = set(re.findall(r"figure: lessons/output/(\w+)\.(\w+)", page))
    shown = re.findall(r'<img src="[^"]+\.(\w+)" srcset="[^"]+" alt="([^"]+)"', page)
    expected = [(suffix, name.replace("_", " ") + ", moving" * (suffix == "gif")) for name, suffix in drawn]
    assert sorted(expected) == sorted(shown)
    assert not re.findall(r"\S+:\d+: \w*Warning: .*", page)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_the_code_that_answers_an_exercise_is_folded(site, lesson):
    page = (site / "lessons" / f"{lesson.stem}.html").read_text(encoding="utf-8")
    titles = re.findall(r'<details class="answer"><summary>The library(?:&#x27;|\')s own code for exercise (\d+)', page)
    assert titles == re.findall(r'^ *(?:code\(.*)?exercise="(\d+)"', lesson.read_text(), re.M)
    assert len(titles) == page.count("own code for exercise"), "one that is not folded"


@pytest.mark.slow
def test_who_wants_no_movement_sees_the_steps(site, browser):
    page = browser.new_page()
    page.goto((site / "lessons" / "06_convolution_backward.html").as_uri())
    moving = page.locator('img[src$=".gif"]')
    steps = page.locator('img[alt="06 dx place by place"]')
    assert (moving.is_visible(), steps.is_visible()) == (True, True)
    page.emulate_media(reduced_motion="reduce")
    assert (moving.is_visible(), steps.is_visible()) == (False, True)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_every_lesson_offers_its_notebook(site, lesson):
    page = (site / "lessons" / f"{lesson.stem}.html").read_text(encoding="utf-8")
    (target,) = re.findall(rf'href="\.\./([^"]+/{lesson.stem}\.ipynb)"', page)
    offered = json.loads((site / target).read_text(encoding="utf-8"))
    made = json.loads(runpy.run_path(str(ROOT / "scripts" / "notebooks.py"))["notebook"](lesson))
    assert offered["cells"] == made["cells"]


@pytest.mark.slow
def test_every_public_name_has_a_page(site):
    pages = {page.stem for page in (site / "reference").glob("*.html")}
    modules = {"data", "models", "interop", "plots", "layers", "__version__"}
    names = {f"scratchnet.{name}" for name in sn.__all__ if name not in modules}
    names |= {f"scratchnet.data.{name}" for name in sn.data.__all__ if name not in ("Dataset", "DATASETS")}
    for module in (sn.layers, sn.optim, sn.data):
        names |= {f"{module.__name__}.{name}" for name in KERNELS if hasattr(module, name)}
    for module in (sn.models, sn.interop, sn.plots):
        own = [name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__]
        names |= {f"{module.__name__}.{name}" for name in own if not name.startswith("_")}
    assert names <= pages, f"not listed in docs/api.rst: {sorted(names - pages)}"


@pytest.mark.slow
@pytest.mark.parametrize("source", MATH, ids=lambda source: source.stem)
def test_every_formula_of_a_page_is_set(site, source):
    """Each formula in the page's source is typeset, none is left as plain text, and the named code exists."""
    page = (site / "math" / f"{source.stem}.html").read_text(encoding="utf-8")
    text = source.read_text(encoding="utf-8")
    module, latex = formulas_of(source)
    assert len(re.findall('<math [^>]*display="block"', page)) == len(latex) + text.count(".. math::")
    shown = html.unescape(re.sub(r"<[^>]+>", "", "\n".join(re.findall(r"<pre>(.*?)</pre>", page, re.S)))).splitlines()
    assert not {line[4:] for block in blocks_of(module) for line in block.splitlines()} & set(shown)
    for name in re.findall(r":pyobject: (\S+)", text):
        assert any(re.match(rf"(def|class) {name}\(", line) for line in shown)


@pytest.mark.slow
def test_no_lesson_takes_long(site):
    """Of the processors' time: a clock's would also count what other tests do meanwhile."""
    seconds = json.loads((site.parent / "project" / "docs" / "lessons" / "processor_seconds.json").read_text())
    assert set(seconds) == {path.stem for path in LESSONS}
    assert not {lesson: spent for lesson, spent in seconds.items() if not 0 < spent < LIMIT}


# ---------------------------------------------------------------- in a browser


@pytest.mark.slow
def test_every_page_is_whole(site, browser):
    """Opened as files: no error, no missing picture, nothing loaded from a network, nothing too wide."""
    reader = Reader(browser)
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 80
    problems = {str(page.relative_to(site)): reader.problems(page.as_uri(), DESKTOP, PHONE) for page in pages}
    assert not {page: wrong for page, wrong in problems.items() if wrong}


@pytest.fixture
def addresses(site):
    """The site's addresses: as files, and on a local server."""
    handler = partial(QuietHandler, directory=site)
    with ThreadingHTTPServer(("localhost", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield {"file": site.as_uri(), "http": f"http://localhost:{server.server_port}"}
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["file", "http"])
def test_the_search_finds_a_kernel(addresses, browser, scheme):
    reader = Reader(browser)
    assert reader.problems(f"{addresses[scheme]}/index.html", DESKTOP) == []
    reader.page.fill("input[name=q]", "col2im")
    reader.page.press("input[name=q]", "Enter")
    reader.page.wait_for_selector("#search-results li a")
    found = reader.page.eval_on_selector_all("#search-results li a", "all => all.map(link => link.href)")
    assert any(address.split("#")[0].endswith("reference/scratchnet.layers.col2im.html") for address in found), found
    assert reader.wrong == []
