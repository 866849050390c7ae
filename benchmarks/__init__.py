"""The benchmark: scratchnet beside PyTorch, TensorFlow and JAX, each in its best form. `python -m benchmarks --help`.

`__main__.py` holds the order of events, `measure.py` what is measured, `peers/` what each framework does, `worker.py`
how it is timed, and `report.py` the table and the figures.
"""
