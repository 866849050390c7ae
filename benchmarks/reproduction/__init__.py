"""The study: the original's three results on the whole of MNIST, reproduced, explained and improved.

`python -m benchmarks.reproduction --help`. `jobs.py` lists the runs, `frameworks.py` trains in PyTorch and TensorFlow,
`__main__.py` makes all runs that are missing, and `report.py` writes `README.md` from the files in `results`.
"""
