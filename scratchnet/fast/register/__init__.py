"""Vector registers, and the memory that they are loaded from.

Read `width.py`, then `vector.py`; `plain.py` is the same in NumPy. `scratch.py` aligns arrays, and `transpose.py`
transposes matrices.
"""
