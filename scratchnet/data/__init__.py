"""Digits in: the embedded sample, the complete MNIST, and seeded batches of either."""

from scratchnet.data.augment import RandomAffine, turn_and_shift
from scratchnet.data.dataset import Dataset
from scratchnet.data.idx import read_idx
from scratchnet.data.sources import load

__all__ = ["Dataset", "RandomAffine", "load", "read_idx", "turn_and_shift"]
