"""Planted errors that no test can notice, because they make no difference, each with the reason: read by `mutants.py`.

The key is the file, and the line as `mutants.py` prints it. If the line changes, the error is planted again.
"""

EQUIVALENT: dict[tuple[str, str], str] = {}
