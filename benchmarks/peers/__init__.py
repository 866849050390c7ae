"""The competitors, one module a framework. Each runs in a process of its own and builds the same networks.

A peer offers

    versions()                     what it is made of, by name
    build(model, weights, dropout) the network, from scratchnet's own arrays by name
    gradients(x, labels)           (logits, {name: gradient}) in scratchnet's layout, to be verified
    training_step(x, labels)       a function that does one step of SGD and returns when it is done
    inference(x)                   a function that computes the logits and returns when they are there
    layer(index, direction, x)     likewise for one layer alone, "forward" or "backward" (where a framework can)
    convolution(x, w, dout)        likewise for one convolution, forward and backward (where a framework can)

and raises ImportError from its constructor where its framework is not installed, and NoEquivalent from `build` where it
has nothing like one of the layers: it is then left out for that network. What a layer is in a framework stands in
`scratchnet.interop.equivalents`. Images come as (N, H, W, C) float32 and are brought into the framework's favourite
layout before the clock starts.
"""

from __future__ import annotations

import importlib
from typing import Any

LEARNING_RATE = 0.01

# name: (module, class, arguments). The first one is what the others are compared with.
PEERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "scratchnet": ("scratch", "Scratch", {"engine": "numba"}),
    "scratchnet, NumPy engine": ("scratch", "Scratch", {"engine": "numpy"}),
    "PyTorch, NCHW": ("pytorch", "PyTorch", {"channels_last": False}),
    "PyTorch, channels_last": ("pytorch", "PyTorch", {"channels_last": True}),
    "PyTorch, torch.compile": ("pytorch", "PyTorch", {"channels_last": True, "compiled": True}),
    "TensorFlow, tf.function": ("tensorflow", "TensorFlow", {"xla": False}),
    "TensorFlow, XLA": ("tensorflow", "TensorFlow", {"xla": True}),
    "JAX, jit": ("jax", "Jax", {}),
}
OURS = next(iter(PEERS))


def make_peer(name: str) -> Any:
    """The peer of that name; ImportError, with what is missing, if its framework is not installed."""
    module, kind, arguments = PEERS[name]
    return getattr(importlib.import_module(f"benchmarks.peers.{module}"), kind)(**arguments)


def framework(name: str) -> str:
    """Whose configuration a peer is: "PyTorch, NCHW" is PyTorch's."""
    return "scratchnet, NumPy engine" if "NumPy" in name else name.partition(",")[0]
