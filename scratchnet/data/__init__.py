"""Data: the data sets that are known by name, one's own by its path, and seeded batches of any data set."""

from scratchnet.data.augment import RandomAffine, mean_over_turns, turn_and_shift
from scratchnet.data.dataset import Dataset, DataWarning
from scratchnet.data.idx import read_idx
from scratchnet.data.registry import DATASETS, DatasetInfo, register
from scratchnet.data.sources import load

__all__ = [
    "DATASETS",
    "DataWarning",
    "Dataset",
    "DatasetInfo",
    "RandomAffine",
    "load",
    "mean_over_turns",
    "read_idx",
    "register",
    "turn_and_shift",
]
