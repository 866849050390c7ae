"""The frameworks that are compared, one module each. Each runs in its own process and builds the same networks.

A peer offers

    versions()                     the versions of its packages, by name
    build(model, weights, dropout) the network, from scratchnet's own arrays by name
    gradients(x, labels)           (logits, {name: gradient}) in scratchnet's layout, for verification
    training_step(x, labels)       a function that does one step of SGD and returns when it is done
    inference(x)                   a function that computes the logits and returns when it is done
    layer(index, direction, x)     the same for one layer alone, "forward" or "backward" (if the framework can)
    convolution(x, w, dout)        the same for one convolution, forward and backward (if the framework can)

Its constructor raises ImportError if the framework is not installed. `build` raises NoEquivalent if the framework has
no equivalent of one of the layers; the peer is then left out for that network. `scratchnet.interop.equivalents` says
what each layer is in a framework. Images come as (N, H, W, C) float32, and are converted to the framework's preferred
layout before the clock starts.
"""

from __future__ import annotations

import importlib
from typing import Any

LEARNING_RATE = 0.01

# name: (module, class, arguments). The others are compared with the first one.
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
    """The peer of that name; an ImportError that says what is missing if its framework is not installed."""
    module, kind, arguments = PEERS[name]
    return getattr(importlib.import_module(f"benchmarks.peers.{module}"), kind)(**arguments)


def framework(name: str) -> str:
    """The framework that a peer belongs to: "PyTorch" for "PyTorch, NCHW"."""
    return "scratchnet, NumPy engine" if "NumPy" in name else name.partition(",")[0]
