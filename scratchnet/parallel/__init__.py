"""Training in shards, in one process or in many: the result is the same, bit for bit, however many there are.

A batch is cut into a fixed number of shards (`shards.py`). Their gradients are added in one binary tree (`tree.py`),
whoever computes them. What is drawn at random belongs to an image (`draws.py`). So the number of processes decides when
a sum is ready, but not what it is.

`train.py` is the training loop of `scratchnet/train.py` in this form, and `stagewise.py` the forward and the backward
pass on several shards. `packing.py` puts what a shard makes into a few vectors, `journey.py` sends each of them on its
way as soon as it is complete, and `update.py` is the optimiser's step, of which each rank takes a part. `team.py` says
what a process asks of the others, and is the answer for one alone; `communicator.py` asks them by MPI, and no other
file imports mpi4py. `together.py` sees to it that the ranks begin alike and end together, and `cores.py` that they
share the cores.

A rank is one of the processes that `mpiexec` starts, and its number.
"""
