"""The same network in other frameworks, to compare results and to exchange weights."""

from scratchnet.interop.equivalents import Equivalent, register
from scratchnet.interop.pytorch import from_torch, images_to_torch, to_torch

__all__ = ["Equivalent", "from_torch", "images_to_torch", "register", "to_torch"]
