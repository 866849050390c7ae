"""Training while somebody looks on: in a thread, which ends when the page is closed."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from scratchnet.data import Dataset
from scratchnet.explorer.opening import BATCH
from scratchnet.loss import softmax_cross_entropy
from scratchnet.network import Network
from scratchnet.optim import SGD, Adam, Optimizer

# One computation at a time in this process: kernels use all cores, and which engine computes holds for all threads.
COMPUTE = threading.RLock()

OPTIMIZERS: dict[str, Callable[[Network, float], Optimizer]] = {
    "sgd": lambda net, lr: SGD(net.parameters(), lr),
    "momentum": lambda net, lr: SGD(net.parameters(), lr, momentum=0.9),
    "adam": lambda net, lr: Adam(net.parameters(), lr),
}
PATIENCE = 6.0  # seconds: if the page asks for nothing this long, it is closed, or asleep
TESTED = 500  # images that the accuracy is measured on
TEST_EVERY = 25  # steps


class Trainer:
    """Trains one network on batches of a data set, until it is told to stop or nobody looks any more.

    Attributes
    ----------
    losses : list of float
        Of each step since the first weights.
    tests : list of (step, loss, accuracy)
        On the first test images: before the first step, and after every 25.
    fault : str
        Why it stopped by itself; "" if it did not.
    """

    def __init__(self, net: Network, training: Dataset, test: Dataset) -> None:
        self.net, self.training, self.test = net, training, test[:TESTED]
        self.last_asked = 0.0
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.begin_again()

    def begin_again(self) -> None:
        """Forget all steps: the next ones see the same batches as the first time."""
        self.pause()
        self.losses: list[float] = []
        self.tests: list[tuple[int, float, float]] = []
        self.fault = ""
        self.chosen = ""
        self.optimizer: Optimizer | None = None
        self._batches = self._endless()

    def choose(self, name: str, lr: float) -> Optimizer:
        """The optimiser of this name; a new one if another was used before."""
        if self.optimizer is None or name != self.chosen:
            self.optimizer, self.chosen = OPTIMIZERS[name](self.net, lr), name
        self.optimizer.lr = lr
        return self.optimizer

    def run(self, name: str, lr: float) -> None:
        """Train in the background from now on."""
        self.pause()
        self.fault = ""
        self.choose(name, lr)
        self.last_asked = time.monotonic()
        self._stop.clear()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="explorer training")
        self._thread.start()

    def run_once(self, name: str, lr: float) -> None:
        """Train on one batch, here and now. It is the one that `run` would have gone on with."""
        self.pause()
        self.fault = ""
        self.choose(name, lr)
        with np.errstate(all="ignore"):
            self._step()

    def pause(self) -> None:
        """Stop after the present step, and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _loop(self) -> None:
        while not self._stop.is_set():
            if time.monotonic() - self.last_asked > PATIENCE:
                self.fault = "Paused: the page did not ask for a while."
                return
            if not COMPUTE.acquire(timeout=0.05):  # whoever has it may be waiting for this thread to end
                continue
            try:
                with np.errstate(all="ignore"):  # that the loss is not finite is said below
                    self._step()
            finally:
                COMPUTE.release()
            if self.fault:
                return
            time.sleep(0.001)  # whoever waits to look at the network comes first

    def _step(self) -> None:
        if not self.tests:
            self.tests.append((0, *self.tested()))
        x, labels = next(self._batches)
        loss, dlogits = softmax_cross_entropy(self.net.forward(x, training=True), labels)
        if not math.isfinite(loss):
            self.fault = f"Step {len(self.losses) + 1}: the loss is not finite. Rewind, and choose a smaller rate."
            return
        self.net.backward(dlogits, need_dx=False)
        if self.optimizer is not None:
            self.optimizer.step()
        self.losses.append(loss)
        if len(self.losses) % TEST_EVERY == 0:
            self.tests.append((len(self.losses), *self.tested()))

    def tested(self) -> tuple[float, float]:
        """The mean loss and the accuracy on the first test images."""
        p, labels = self.net.predict(self.test.images), self.test.labels
        own = np.maximum(p[np.arange(len(p)), labels], np.finfo(p.dtype).tiny)  # 0 would be an infinite loss
        return float(-np.log(own).mean()), float((p.argmax(axis=1) == labels).mean())

    def _endless(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng(0)
        while True:
            yield from self.training.batches(BATCH, rng)
