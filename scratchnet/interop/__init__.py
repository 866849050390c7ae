"""The same network in other frameworks, to compare results and to exchange weights."""

from scratchnet.interop.equivalents import Equivalent, OnnxNode, register
from scratchnet.interop.onnx_export import to_onnx
from scratchnet.interop.onnx_import import from_onnx
from scratchnet.interop.pytorch import from_torch, images_to_torch, to_torch

__all__ = [
    "Equivalent",
    "OnnxNode",
    "from_onnx",
    "from_torch",
    "images_to_torch",
    "register",
    "to_onnx",
    "to_torch",
]
