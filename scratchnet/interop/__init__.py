"""The same network in other frameworks."""

from scratchnet.interop.pytorch import from_torch, images_to_torch, to_torch

__all__ = ["from_torch", "images_to_torch", "to_torch"]
