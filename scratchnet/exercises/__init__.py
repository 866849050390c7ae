"""The checker of `lessons/exercises`: it says whether an answer is right, and if not, what is wrong with it.

`exercise.py` defines what an exercise is. `running.py` runs answers, which may never end, and `attempts.py` tries one
on every case. `diagnose.py` finds out what is wrong with it: it asks for known mistakes, then `repair.py` for a small
change of the learner's code that makes it right (`changes.py` has the changes), and last `facts.py` for what the wrong
numbers share. `dense.py`, `conv.py`, `pool.py`, `optim.py`, `own_layer.py` and `batch_norm.py` hold the exercises and
their known mistakes. `checker.py` reads a learner's file and reports.
"""

from scratchnet.exercises.checker import check

__all__ = ["check"]
