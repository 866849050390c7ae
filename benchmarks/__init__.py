"""The benchmark: scratchnet beside PyTorch, TensorFlow and JAX, each in its best form. `python -m benchmarks --help`.

Read `__main__.py` for the order of events, `peers/` for what each framework is asked to do, `worker.py` for how it is
timed, and `report.py` for the table and the figures.
"""
