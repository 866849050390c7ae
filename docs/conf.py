"""The site: the course, the math of the layers and the reference of every public name. `make docs` builds it.

Whoever reads it may have no network, so nothing is fetched: formulas are MathML, fonts are the system's own, and the
search needs no server.
"""

import sys
from pathlib import Path

from scratchnet import __version__

sys.path.insert(0, str(Path(__file__).parent / "ext"))
sys.path.insert(0, str(Path(__file__).parents[1] / "lessons"))  # for showing.py, which the pages share with the lessons

project = "scratchnet"
author = "the authors of scratchnet"
version = release = __version__
exclude_patterns = ["ext"]
templates_path = ["_templates"]
highlight_language = "none"  # a literal block is as often a small table of numbers as it is Python

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "docstrings",
    "explorer_pages",
    "formulas",
    "mathml",
    "records",
]

# ---------------------------------------------------------------- the course

# Functions are given by name: Sphinx keeps this configuration in a file, which cannot hold a function.
sphinx_gallery_conf = {
    "examples_dirs": ["../lessons"],
    "gallery_dirs": ["lessons"],
    "filename_pattern": r"\d\d_\w+\.py$",  # run them all
    "ignore_pattern": r"^showing\.py$",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("lesson_pages.below",),
    "reset_modules": ("lesson_pages.before_lesson", "lesson_pages.time_lesson"),
    "reset_modules_order": "both",
    "reset_argv": "lesson_pages.as_a_script",
    "capture_repr": (),  # show what a lesson prints, as in a terminal, and not the value of a block's last line
    "abort_on_example_error": True,
    "backreferences_dir": "lessons/used",
    "doc_module": ("scratchnet",),
    # Offered as a download is the notebook alone, whose first cell finds showing.py; a script runs where it stands.
    "notebook_extensions": {".py"},
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,  # that page fetches scripts; each lesson's own page says how long it took
}

# exercises/ and solutions/ have files of the same names; they have no header, and are no part of the gallery.
suppress_warnings = ["sphinx_gallery.duplicate_filename"]

# ---------------------------------------------------------------- the reference

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings give shapes, which say more
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the template of a class lists them
python_maximum_signature_line_length = 80
toc_object_entries = False  # one object a page: its title is entry enough
add_module_names = False

# `name` in a docstring becomes a link if it names something in this reference, and stays code if not.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [("py:obj", ".*")]

# ---------------------------------------------------------------- the pages

html_theme = "furo"
html_math_renderer = "mathml"
html_title = "scratchnet"
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_show_search_summary = False  # summaries are fetched, which a browser refuses for pages that are files
