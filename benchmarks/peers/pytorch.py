"""PyTorch: the network that `sn.interop.to_torch` makes, with fused SGD; as NCHW, channels_last, or compiled."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import torch

import scratchnet as sn
from benchmarks.peers import LEARNING_RATE
from scratchnet.interop.equivalents import equivalent
from scratchnet.study.experiments import threads


class PyTorch:
    def __init__(self, channels_last: bool, compiled: bool = False) -> None:
        torch.set_num_threads(threads())
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.compiled = compiled

    def versions(self) -> dict[str, str]:
        return {"PyTorch": torch.__version__}

    def build(self, model: str, weights: dict[str, np.ndarray], dropout: bool) -> None:
        self.ours = sn.models.ARCHITECTURES[model].make(seed=0)
        for p in self.ours.parameters():
            p.value = weights[p.name]
        self.net = sn.interop.to_torch(self.ours).to(memory_format=self.format).train()
        self.ends = list(
            itertools.accumulate(
                len(equivalent(layer, "torch")(layer, shape))
                for layer, shape in zip(self.ours.layers, self.ours.output_shapes(), strict=False)
            )
        )  # where each layer's modules end: a layer can be two, one of which pads
        for module in self.net.modules():
            if isinstance(module, torch.nn.Dropout) and not dropout:
                module.p = 0.0
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=LEARNING_RATE, fused=True)
        self.run = torch.compile(self.net) if self.compiled else self.net

    def tensors(self, x, labels=None):
        images = sn.interop.images_to_torch(x).contiguous(memory_format=self.format)
        return images, None if labels is None else torch.from_numpy(labels)

    def gradients(self, x, labels):
        images, labels = self.tensors(x, labels)
        logits = self.run(images)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        holder = copy.deepcopy(self.net)  # its weights become the gradients, so that from_torch converts their layout
        with torch.no_grad():
            for weight, p in zip(holder.parameters(), self.net.parameters(), strict=True):
                weight.copy_(p.grad)
        grads = sn.interop.from_torch(holder, copy.deepcopy(self.ours))
        return logits.detach().numpy(), {p.name: p.value for p in grads.parameters()}

    def training_step(self, x, labels):
        images, labels = self.tensors(x, labels)
        self.net.train()

        def step():
            self.optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(self.run(images), labels).backward()
            self.optimizer.step()

        return step

    def inference(self, x):
        images, _ = self.tensors(x)
        self.net.eval()

        def run():
            with torch.inference_mode():
                self.run(images)

        return run

    def layer(self, index, direction, x):
        """Layer `index` alone, forward or backward, on what the layers before it make of the images x."""
        images, _ = self.tensors(x)
        start, end = self.ends[index - 1] if index else 0, self.ends[index]
        with torch.no_grad():
            images = self.net[:start](images)
        module = self.net[start] if end == start + 1 else self.net[start:end]
        images = images.detach().requires_grad_(index > 0)
        if direction == "forward":
            return lambda: module(images)
        out = module(images)
        dout = torch.randn_like(out)
        wanted = [images] * (index > 0) + list(module.parameters())
        return lambda: torch.autograd.grad(out, wanted, dout, retain_graph=True)

    def convolution(self, x, w, dout):
        """The forward and backward pass of one convolution with "same" padding."""
        x, dout = self.tensors(x)[0].requires_grad_(), self.tensors(dout)[0]
        w = torch.from_numpy(w.transpose(3, 2, 0, 1)).contiguous(memory_format=self.format).requires_grad_()

        def run():
            out = torch.nn.functional.conv2d(x, w, padding="same")
            torch.autograd.grad(out, (x, w), dout)

        return run
