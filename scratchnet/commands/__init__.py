"""The commands of the command line, a file for each; `scratchnet.cli` puts them together.

In each file, `add` declares the command and its options, and the function that is named like the command gets what was
given for them. What several commands share is in `options.py` (options) and `subject.py` (networks and data).
"""
