"""The lessons as notebooks: they are made from the scripts, and run in a real kernel from any folder."""

from __future__ import annotations

import json
import re
import runpy
import sys
import warnings

import pytest
from conftest import INSTALL, ROOT

LESSONS = sorted((ROOT / "lessons").glob("[0-9][0-9]_*.py"))

# These run in seconds. 15 starts child processes and needs the lesson's own file; the site's build runs the others.
QUICK = ("01", "06", "15")

# Before and after a lesson's cells: warnings are errors in them, but not in the kernel's own code at its end.
STRICT, AS_BEFORE = "import warnings; warnings.simplefilter('error')", "warnings.resetwarnings()"


@pytest.fixture(scope="module")
def script():
    """The names of scripts/notebooks.py."""
    pytest.importorskip("sphinx_gallery", reason=INSTALL)
    path = sys.path.copy()
    yield runpy.run_path(str(ROOT / "scripts" / "notebooks.py"))
    sys.path[:] = path


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the cells of a notebook in a kernel of its own, in an empty folder; returns the notebook with its outputs."""
    pytest.importorskip("ipykernel", reason=INSTALL)
    nbclient = pytest.importorskip("nbclient", reason=INSTALL)
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))  # whoever runs the tests may have settings of their own

    def run(notebook):
        code = nbformat.v4.new_code_cell
        notebook.cells = [code(STRICT), *notebook.cells, code(AS_BEFORE)]
        empty = tmp_path / "somewhere"
        empty.mkdir()
        client = nbclient.NotebookClient(
            notebook, timeout=300, kernel_name="python3", coalesce_streams=True, resources={"metadata": {"path": empty}}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Jupyter says of itself
            client.execute()
        return notebook

    return run


def outputs(notebook, kind):
    return [out for cell in notebook.cells for out in cell.get("outputs", []) if out.output_type == kind]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_is_a_notebook(script, path):
    cells = json.loads(script["notebook"](path))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert text.lstrip().startswith(f"# {path.read_text(encoding='utf-8').splitlines()[1]}")
    assert not re.findall(r"^ *\.\. .*|:\w+:`.*", text, re.MULTILINE), "not known to Markdown"
    assert f'lessons / "{path.name}"' in code[0]
    lines = [line for cell in code[1:] for line in cell.splitlines() if line.strip()]
    script_lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line not in script_lines] == []
    assert not any(cell.get("outputs") for cell in cells)


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in LESSONS if path.name[:2] in QUICK], ids=lambda path: path.stem)
def test_a_notebook_runs_in_a_kernel(script, run, path):
    import nbformat

    notebook = run(nbformat.reads(script["notebook"](path), as_version=4))
    printed = "".join(out.text for out in outputs(notebook, "stream"))
    named = re.findall(r"figure: lessons/output/(\S+)", printed)
    assert named
    kinds = [f"image/{name.split('.')[-1]}" for name in named]
    shown = [kind for out in outputs(notebook, "display_data") for kind in out.data if kind.startswith("image/")]
    assert shown == kinds, "each figure once"
    assert outputs(notebook, "execute_result") == [], "no cell ends with a value that is shown beside what it prints"
    if path.name.startswith("15"):
        assert "(Pdb) w" in printed


@pytest.mark.slow
def test_bars_and_tables_in_a_kernel(run):
    """A bar overwrites itself, in one line; a network, a step and a report are tables."""
    import nbformat

    cells = [
        "import time\nimport numpy as np\nimport scratchnet as sn\nsn.use_engine('numpy')\n"
        "from scratchnet.progress import progress_bar\n"
        "for _ in progress_bar(range(300), 'counting', True): time.sleep(0.005)",
        "train, _ = sn.data.load('sample')\n"
        "net = sn.Network([sn.Flatten(), sn.Dense(784, 10)], input_shape=(28, 28, 1), name='one')\n"
        "h = sn.fit(net, train, optimizer=sn.SGD(net.parameters(), 0.1), steps=200)",
        "net",
        "next(net.steps(train.images[:1], train.labels[:1]))",
        "sn.gradcheck(net.layers[1], np.ones((2, 784)), max_entries=3)",
    ]
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
    notebook = run(notebook)
    bars = [out.text for out in outputs(notebook, "stream")]
    assert len(bars) == 2
    for bar, name in zip(bars, ("counting: 100%", "one: 100%"), strict=True):
        (line,) = bar.strip().splitlines()
        assert line.startswith(name)
    tables = [out.data for out in outputs(notebook, "execute_result")]
    assert [re.search(r"<caption.*?>(\w+)", data["text/html"])[1] for data in tables] == ["one", "flatten1", "dense1"]
    assert tables[0]["text/plain"].startswith("Network([Flatten(), Dense(")


def test_the_first_cell_says_what_is_missing(script, tmp_path, monkeypatch):
    cell = (ROOT / "docs" / "ext" / "first_cell.py").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(cell, names)
    assert names["lessons"] == ROOT / "lessons", "beside the package, wherever the notebook is"
    sys.path.remove(str(ROOT / "lessons"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ModuleNotFoundError, match="scratchnet is not installed for .*; choose the Python in the project"
    ):
        exec(cell, {})


@pytest.mark.parametrize("where", [".", "lessons", "lessons/notebooks"])
def test_the_first_cell_looks_above_the_notebook_if_the_package_is_elsewhere(tmp_path, monkeypatch, where):
    cell = (ROOT / "docs" / "ext" / "first_cell.py").read_text(encoding="utf-8")
    installed = type("Spec", (), {"origin": str(tmp_path / "site-packages" / "scratchnet" / "__init__.py")})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: installed)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "project" / where).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project" / where)
    with pytest.raises(FileNotFoundError, match=r"no folder lessons/ with showing.py"):
        exec(cell, {})
    (tmp_path / "project" / "lessons").mkdir(exist_ok=True)
    (tmp_path / "project" / "lessons" / "showing.py").touch()
    exec(cell, names := {})
    assert sys.path[0] == str(names["lessons"]) == str(tmp_path / "project" / "lessons")


def test_a_notebook_that_is_there_stays(script, tmp_path, monkeypatch, capsys):
    name = f"{LESSONS[0].stem}.ipynb"
    (tmp_path / name).write_text("my work")
    monkeypatch.setattr(sys, "argv", ["notebooks.py", str(tmp_path)])
    script["main"]()
    assert f"{tmp_path / name} is there already, and stays as it is" in capsys.readouterr().out
    assert (tmp_path / name).read_text() == "my work"
    assert len(list(tmp_path.glob("*.ipynb"))) == len(LESSONS)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--overwrite"])
    script["main"]()
    assert json.loads((tmp_path / name).read_text())["nbformat"] == 4
