"""Training runs that can be watched, interrupted and resumed, and the files that they write.

`run.py` is the run itself. It has its folder to itself (`lock.py`), adds to the metrics (`metrics.py`), and listens to
Ctrl-C (`interrupt.py`). `checkpoint.py` saves and restores models and runs: `container.py` has the bytes of their
files, `description.py` the networks in words, and `identity.py` finds out whether a resumed run is the same run.
`recipes.py` holds the ways to train, `options.py` the settings of `scratchnet train`.
"""
