"""Make a Jupyter notebook of each lesson, as the site offers them, without building the site.

make notebooks                                       # into lessons/notebooks/
python scripts/notebooks.py FOLDER [--overwrite]     # needs sphinx-gallery

A notebook that is there already may hold its reader's work. It stays as it is, unless --overwrite says otherwise.
"""

import argparse
import json
import sys
from pathlib import Path

from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
from sphinx_gallery.notebook import jupyter_notebook
from sphinx_gallery.py_source_parser import split_code_and_text_blocks

from scratchnet.writing import write_text_atomically

ROOT = Path(__file__).parent.parent
LESSONS = sorted((ROOT / "lessons").glob("[0-9][0-9]_*.py"))


def notebook(lesson: Path) -> str:
    """The notebook of a lesson, as JSON."""
    sys.path.insert(0, str(ROOT / "docs" / "ext"))
    from notebook_cells import first_cell

    _, blocks = split_code_and_text_blocks(str(lesson))
    settings = DEFAULT_GALLERY_CONF | {"first_notebook_cell": first_cell(lesson.name)}
    return json.dumps(jupyter_notebook(blocks, settings, lesson.parent), indent=1)


def main() -> None:
    """Write the notebooks, and say where they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "lessons" / "notebooks")
    parser.add_argument("--overwrite", action="store_true", help="replace notebooks that are there already")
    options = parser.parse_args()
    for lesson in LESSONS:
        path = options.folder / f"{lesson.stem}.ipynb"
        if path.exists() and not options.overwrite:
            print(f"{path} is there already, and stays as it is (--overwrite replaces it)")
            continue
        write_text_atomically(path, notebook(lesson))
        print(path)


if __name__ == "__main__":
    main()
