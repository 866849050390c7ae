"""Training that is watched, interrupted and resumed, and what it keeps on disk.

`run.py` is the run itself, `checkpoint.py` its files, `recipes.py` the ways to train, `options.py` what the command
line adds to them, `files.py` how a file is replaced as a whole.
"""
