"""What one page of the explorer asks for. Each page has a copy of the network: what it changes, no other page sees.

Every method takes the page's request, which is a dictionary from JSON, and returns what JSON can hold, or bytes. A
request that makes no sense is a ValueError, whose sentence the page shows.
"""

from __future__ import annotations

import base64
import copy
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.engine import READABLE_ENGINE, current_engine, is_compiled, use_engine
from scratchnet.explorer.drawing import image_of, strokes_in
from scratchnet.explorer.opening import BATCH, Opened, Weights
from scratchnet.explorer.recording import Recording
from scratchnet.explorer.training import COMPUTE, OPTIMIZERS, Trainer
from scratchnet.layers.base import Parameter, snapshot
from scratchnet.loss import softmax, softmax_cross_entropy
from scratchnet.network import Network
from scratchnet.program import python_line

Request = dict[str, Any]
MOST_UNDONE = 200
LOOKED_AT = 200  # images that the gallery chooses from
SMALL = 32  # pixels of the longer side of a picture in it


class Session:
    """One page: its network, the image that it looks at, and the last walk."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.net: Network = copy.deepcopy(opened.net)
        self.as_opened = Weights.of(self.net)
        self.data = opened.data
        self.classes = self.net.output_shapes()[-1][-1]
        self.trainer = Trainer(self.net, opened.training, opened.data)
        self.changes: list[tuple[str, Callable[[], None]]] = []  # what was changed, and what takes it back
        self.digit = 0
        self.drawn = False
        self.training = True
        self.label = int(self.data.labels[0])
        self._look_at(self.data.images[:1])
        self.recording: Recording | None = None

    # ---------------------------------------------------------------- what to look at

    def describe(self, request: Request) -> dict[str, Any]:
        """What does not change while the page is open."""
        H, W, C = (*self.x.shape[1:], 1, 1, 1)[:3]
        return {
            "net": self.net.name,
            "engine": current_engine(),
            "classes": [self.data.class_name(k) for k in range(self.classes)],
            "data": {"name": self.data.name, "count": len(self.data)},
            "can_draw": self.x.ndim == 4 and H == W and C == 1,
            "summary": self.net.summary(),
            "parameters": {p.name: list(p.value.shape) for p in self.net.parameters()},
            "optimizers": list(OPTIMIZERS),
            "first": self.opened.first is not None,
            "changes_in_training": bool(self.net.state()),
        }

    def draw(self, request: Request) -> dict[str, Any]:
        """The image of what was drawn, and the probabilities that the network gives it."""
        if self.x.ndim != 4 or self.x.shape[1] != self.x.shape[2] or self.x.shape[3] != 1:
            raise ValueError(f"{self.net.name} takes images of shape {self.x.shape[1:]}: choose one of the data set")
        self._look_at(image_of(strokes_in(request.get("strokes")), self.x.shape[1])[None, ..., None])
        self.drawn = True
        probabilities = self._predict()
        if request.get("label") is None:
            self.label = int(probabilities.argmax())
        return self._seen(probabilities)

    def gallery(self, request: Request) -> dict[str, Any]:
        """Of each class the image that the network is surest of, and the one that it is least sure of.

        `first` is the one to begin with: of these, and of those that it reads right, the one that it is least sure of.
        """
        looked_at = self.data[:LOOKED_AT]
        p = self.net.predict(looked_at.images, BATCH)
        every = -(-max(self.x.shape[1:3]) // SMALL) if self.x.ndim == 4 else 1
        pictures = looked_at.images[:, ::every, ::every] if self.x.ndim == 4 else looked_at.images
        own = np.nan_to_num(p[np.arange(len(p)), looked_at.labels])
        read = p.argmax(axis=1)
        members = [np.flatnonzero(looked_at.labels == k) for k in range(self.classes)]
        chosen = [int(of_class[pick(own[of_class])]) for of_class in members if len(of_class) for pick in EXTREMES]
        return {
            "first": min(chosen, key=lambda k: (read[k] != looked_at.labels[k], own[k])),
            "shape": list(pictures.shape[1:]),
            "images": [
                {"digit": k, "label": int(looked_at.labels[k]), "read": int(read[k]), "image": floats(pixels)}
                for k, pixels in ((k, pictures[k].ravel()) for k in chosen)
            ],
        }

    def choose(self, request: Request) -> dict[str, Any]:
        """One of the images of the data set."""
        self.digit = whole(request, "digit", len(self.data))
        self._look_at(self.data.images[self.digit : self.digit + 1])
        self.label, self.drawn = int(self.data.labels[self.digit]), False
        return self._seen(self._predict())

    def set_label(self, request: Request) -> dict[str, Any]:
        """Another label for the image. No slope says what that does, but the loss does."""
        label, before = whole(request, "label", self.classes), self.label
        losses = [self._loss()]
        self.label = label
        losses.append(self._loss())
        self._remember("label", lambda: setattr(self, "label", before))
        return {"before": losses[0], "after": losses[1], **self._seen(self._predict())}

    def walk(self, request: Request) -> bytes:
        """A walk of the image through the network."""
        self.training = bool(request.get("training", True))
        return self._walk().packed()

    def explain(self, request: Request) -> dict[str, Any]:
        """One number of the last walk."""
        recording = self.recording or self._walk()
        index = request.get("index")
        if not isinstance(index, list) or not all(type(k) is int for k in index):
            raise ValueError("index: expected a list of whole numbers")
        layer = None if request.get("layer") is None else whole(request, "layer", 1 << 20)
        stage = whole(request, "stage", len(recording.stages))
        return recording.explain(stage, str(request.get("array")), index, layer)

    def debug(self, request: Request) -> dict[str, Any]:
        """The command that stops in a debugger, in a stage, at the line that makes an array, with this very image."""
        recording = self.recording or self._walk()
        number = whole(request, "stage", len(recording.stages))
        source = recording.sources[number]
        line = source["marks"].get(str(request.get("array")), source["lines"][0][0])
        if self.opened.opened_as is None:
            return {"pdb": "", "why": "This network is only in memory. Save it with sn.save, and open its file."}
        if self._weights_changed():
            why = "The weights were changed on this page, and the command opens the file's. Rewind or reset first."
            return {"pdb": "", "why": why}
        image = ["--digit", str(self.digit)]
        if not np.array_equal(self.x, self.data.images[self.digit : self.digit + 1]):  # drawn, or with other pixels
            packed = zlib.compress(self.x.astype("<f4").tobytes(), 9)
            image = [f"--image={base64.urlsafe_b64encode(packed).decode()}"]
        mode = [] if self.training else ["--no-training"]
        module = ["-m", "scratchnet.explorer.again"]
        given = [*self.opened.opened_as, "--stage", str(number + 1)]
        given += ["--line", str(line), "--label", str(self.label), *mode, *image]
        launch: dict[str, Any] = {"name": f"{recording.stages[number].name}", "type": "debugpy", "request": "launch"}
        launch |= {"module": module[1], "args": given, "justMyCode": False, "console": "integratedTerminal"}
        launch |= {"python": sys.executable, "cwd": str(Path.cwd())}  # so that the file and the package are found
        return {"pdb": python_line(*module, *given), "vscode": launch, "at": f"{source['path']}:{line}", "why": ""}

    # ---------------------------------------------------------------- what if

    def what_if(self, request: Request) -> dict[str, Any]:
        """Change a weight or a pixel by delta: what the gradient predicts for the loss, and what happens to it.

        The losses are computed in float64: the difference of two float32 losses would be mostly rounding.
        """
        delta = finite(request, "delta")
        kind = "pixel" if request.get("kind") == "pixel" else "weight"
        recording = self._walk()
        if kind == "pixel":
            array, grads, place = self.x, recording.stages[-1].step.output, request.get("index")
            index = (0, *self._index(place, self.x.shape[1:], "pixel"))
        else:
            p = self._parameter(request.get("name"))
            array, grads = p.value, p.grad if p.grad is not None else np.zeros_like(p.value)
            index = self._index(request.get("index"), array.shape, p.name)
        old, grad, before = array[index], float(grads[index]), self._loss()
        array[index] = old + array.dtype.type(delta)
        moved, after = float(array[index] - old), self._loss()
        self._remember(kind, lambda: array.__setitem__(index, old))
        self._walk()
        return {
            "value": float(old),
            "grad": grad,
            "delta": moved,
            "predicted": grad * moved,
            "happened": after - before,
            "before": before,
            "after": after,
            **self._seen(self._predict()),
        }

    def undo(self, request: Request) -> dict[str, Any]:
        """Take the last change back, or all of them."""
        undone = []
        while self.changes:
            what, take_back = self.changes.pop()
            take_back()
            undone.append(what)
            if not request.get("all"):
                break
        return {"undone": undone, **self._seen(self._predict())}

    def _remember(self, what: str, take_back: Callable[[], None]) -> None:
        self.changes.append((what, take_back))
        del self.changes[:-MOST_UNDONE]

    # ---------------------------------------------------------------- learn

    def learn(self, request: Request) -> dict[str, Any]:
        """One step of an optimiser on this image alone."""
        name, lr = self._optimizer(request)
        self.trainer.pause()
        before, p_before = self._loss(), softmax(self._logits())[0]
        self._walk()  # the gradients
        old = {p.name: p.value.copy() for p in self.net.parameters()}
        self.trainer.choose(name, lr).step()
        moved = {p.name: float(np.abs(p.value - old[p.name]).max()) for p in self.net.parameters()}
        self.changes.clear()  # what was changed by hand is part of the weights now
        after, p_after = self._loss(), softmax(self._logits())[0]
        return {
            "before": before,
            "after": after,
            "p_before": floats(p_before),
            "p_after": floats(p_after),
            "moved": moved,
            **self._seen(self._predict()),
        }

    def train(self, request: Request) -> dict[str, Any]:
        """Begin to train on the data set, or stop; or take one step (`once`)."""
        if not request.get("go"):
            self.trainer.pause()
        else:
            name, lr = self._optimizer(request)
            self.changes.clear()
            (self.trainer.run_once if request.get("once") else self.trainer.run)(name, lr)
        return self.progress({})

    def progress(self, request: Request) -> dict[str, Any]:
        """How training goes: the losses since step `since`."""
        since = whole(request, "since", 1 << 31) if "since" in request else 0
        trainer = self.trainer
        return {
            "step": len(trainer.losses),
            "running": trainer.running,
            "fault": trainer.fault,
            "losses": floats(trainer.losses[since:]),
            "tests": [[step, *floats(found)] for step, *found in trainer.tests],
            "tested": len(trainer.test),
            **self._seen(self._predict()),
        }

    def rewind(self, request: Request) -> dict[str, Any]:
        """The weights that the network had when it was opened, or before any training."""
        first = bool(request.get("first"))
        if first and self.opened.first is None:
            raise ValueError("The first weights of this network are not known: it was opened with weights already.")
        self.trainer.begin_again()
        self.changes.clear()
        (self.opened.first if first and self.opened.first else self.as_opened).put_into(self.net)
        return self.progress({})

    def close(self, request: Request) -> dict[str, Any]:
        """End what the page began."""
        self.trainer.pause()
        return {}

    # ---------------------------------------------------------------- the work

    def _look_at(self, x: np.ndarray) -> None:
        self.x = np.array(x, np.float32)  # a copy, which may be changed
        self.changes = [change for change in self.changes if change[0] not in ("pixel", "label")]

    def _walk(self) -> Recording:
        """A walk that leaves random generators and running statistics as they were."""
        before = snapshot(self.net.state())
        self.recording = Recording(self.net, self.x, self.label, self.training)
        self.net.set_state(before)
        return self.recording

    def _weights_changed(self) -> bool:
        opened = self.as_opened.values
        return any(not np.array_equal(p.value, opened[p.name], equal_nan=True) for p in self.net.parameters())

    def _predict(self) -> np.ndarray:
        probabilities: np.ndarray = self.net.predict(self.x)[0]
        return probabilities

    def _logits(self) -> np.ndarray:
        """In float64, with the same masks as in the walk, on an engine that needs to compile nothing for it."""
        net = copy.deepcopy(self.net).astype(np.float64)
        with use_engine(READABLE_ENGINE) if is_compiled() else nullcontext():
            return net.forward(self.x.astype(np.float64), self.training)

    def _loss(self) -> float:
        loss, _ = softmax_cross_entropy(self._logits(), np.array([self.label]))
        return loss

    def _seen(self, probabilities: np.ndarray) -> dict[str, Any]:
        return {
            "image": floats(self.x.ravel()),
            "shape": list(self.x.shape[1:]),
            "probabilities": floats(probabilities),
            "label": self.label,
            "digit": None if self.drawn else self.digit,
            "undo": len(self.changes),
        }

    def _parameter(self, name: Any) -> Parameter:
        for p in self.net.parameters():
            if p.name == name:
                return p
        names = ", ".join(p.name for p in self.net.parameters())
        raise ValueError(f"weight: expected one of {names}, got {str(name)[:40]!r}")

    def _index(self, index: Any, shape: tuple[int, ...], what: str) -> tuple[int, ...]:
        fits = isinstance(index, list) and len(index) == len(shape) and all(type(k) is int for k in index)
        if not fits or not all(0 <= k < size for k, size in zip(index, shape, strict=True)):
            raise ValueError(f"{what}: expected an index in its shape {shape}, got {str(index)[:40]}")
        return tuple(index)

    def _optimizer(self, request: Request) -> tuple[str, float]:
        name = request.get("optimizer")
        if not isinstance(name, str) or name not in OPTIMIZERS:
            raise ValueError(f"optimiser: expected one of {', '.join(OPTIMIZERS)}, got {str(name)[:40]!r}")
        lr = finite(request, "lr")
        if not 0 <= lr <= 100:
            raise ValueError(f"learning rate: expected a number from 0 to 100, got {lr}")
        return name, lr


EXTREMES: tuple[Callable[[np.ndarray], Any], ...] = (np.argmax, np.argmin)

# What a page may ask for.
ACTIONS: dict[str, Callable[[Session, Request], Any]] = {
    "describe": Session.describe, "gallery": Session.gallery,
    "draw": Session.draw, "choose": Session.choose, "label": Session.set_label,
    "walk": Session.walk, "explain": Session.explain, "debug": Session.debug,
    "what-if": Session.what_if, "undo": Session.undo,
    "learn": Session.learn, "train": Session.train, "progress": Session.progress, "rewind": Session.rewind,
}  # fmt: skip


def answer(session: Session, action: str, request: Request) -> Any:
    """What a page asked for. One computation at a time: see `COMPUTE`."""
    with COMPUTE, np.errstate(all="ignore"):  # a network with infinite weights is shown, too
        session.trainer.last_asked = time.monotonic()
        return ACTIONS[action](session, request)


def whole(request: Request, name: str, end: int) -> int:
    """A whole number of a request from 0 to below `end`."""
    value = request.get(name)
    if type(value) is not int or not 0 <= value < end:
        raise ValueError(f"{name}: expected a whole number from 0 to {end - 1}, got {str(value)[:40]}")
    return value


def finite(request: Request, name: str) -> float:
    """A finite number of a request."""
    value = request.get(name)
    if type(value) not in (int, float) or not abs(value) < 1e30:  # type: ignore[arg-type]
        raise ValueError(f"{name}: expected a number, got {str(value)[:40]}")
    return float(value)  # type: ignore[arg-type]


def floats(values: Any) -> list[float]:
    """Numbers with nine digits, which tell every float32 apart."""
    return [float(f"{float(v):.9g}") for v in values]
