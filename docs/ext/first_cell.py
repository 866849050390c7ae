# This notebook is made from lessons/LESSON.py. It may lie anywhere, but it needs the project's own Python, in which
# scratchnet is installed. In the project's folder:
#
#     .venv/bin/pip install jupyterlab
#     .venv/bin/jupyter lab
#
# In VS Code, choose .venv as the kernel. This cell finds the folder of the lessons, which has showing.py: beside the
# package, or in a folder above this notebook.
import importlib.util
import sys
from pathlib import Path

package = importlib.util.find_spec("scratchnet")
if package is None or package.origin is None:
    raise ModuleNotFoundError(
        f"scratchnet is not installed for {sys.executable}; choose the Python in the project's .venv"
    )
projects = [Path(package.origin).parents[1], Path.cwd(), *Path.cwd().parents]
lessons = next((folder / "lessons" for folder in projects if (folder / "lessons" / "showing.py").is_file()), None)
if lessons is None:
    raise FileNotFoundError("no folder lessons/ with showing.py; put this notebook into a folder of the project")
if str(lessons) not in sys.path:
    sys.path.insert(0, str(lessons))
__file__ = str(lessons / "LESSON.py")
