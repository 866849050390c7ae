"""The training loop, visible on one screen. What it writes, shows and resumes is kept apart, in `runs/`."""

from __future__ import annotations

from pathlib import Path

from scratchnet.data import Dataset
from scratchnet.layers.base import positive
from scratchnet.loss import softmax_cross_entropy
from scratchnet.network import Network
from scratchnet.optim import Optimizer, Schedule, at_least_zero
from scratchnet.runs.run import Augment, History, Run, interruptible, progress_bar


def fit(
    net: Network,
    train: Dataset,
    test: Dataset | None = None,
    *,
    optimizer: Optimizer,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
    schedule: Schedule | None = None,
    augment: Augment | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    checkpoint_every: int | None = None,
    progress: bool = True,
) -> History:
    """Train a network by backprop on seeded batches.

    Parameters
    ----------
    net : Network
    train : Dataset
        What to train on: in a new order each epoch, the last partial batch included.
    test : Dataset, optional
        Evaluated at the end of each epoch. Training does not depend on it, so a resumed run may have another one.
    optimizer : Optimizer
        Over `net.parameters()`.
    epochs, steps : int
        How long: one of the two.
    batch_size : int
    seed : int
        Of the batches' order. With the network's own seed it determines the result, bit for bit, on one machine. (The
        NumPy engine's matrix products are BLAS's, which may add in another order if it is given another number of
        threads.)
    schedule : function from step (0, 1, ...) to learning rate, optional
        If not given, the optimiser's lr stays.
    augment : function from (images, generator) to images, optional
        Changes each batch before it is trained with: `data.RandomAffine` turns and shifts. What it draws from the
        generator depends on the seed and the step alone, so a resumed run draws the same.
    folder : path, optional
        Where to keep `checkpoint.safetensors`, all that the run needs to go on, and `metrics.jsonl`, a JSON object a
        line for each step and epoch. Without a folder nothing is written.
    resume : bool
        Go on from the folder's checkpoint, if there is one. The weights at the end are those of an uninterrupted run
        with the same arguments, bit for bit. So what decided the steps taken must be the same: the network, the
        optimiser and the learning rate of each step, the engine, the images and labels, batch_size, seed and augment.
        The run may end later than it was to end at first.
    checkpoint_every : int, optional
        Steps from one checkpoint to the next; at the end of each epoch if not given.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    History
        Of all steps; those before a resume included.

    Raises
    ------
    TrainingDiverged
        If the loss or a weight becomes NaN or infinite: the message names the step and the likely cause.
    KeyboardInterrupt
        If interrupted: the step under way is finished first, and a checkpoint written if there is a folder; the message
        says how to go on.
    FileExistsError
        If the folder holds another run's checkpoint, and it is not to be resumed.
    ValueError
        If an argument is out of range, the optimiser is over other parameters than the network's, or the checkpoint is
        of another run (the message says what differs) or its metrics are damaged.
    """
    run = Run(net, train, test, optimizer, schedule, augment, epochs, steps, batch_size, seed, folder, checkpoint_every)
    run.start(resume)
    with run.recording(), interruptible() as interrupt, run.bar(progress) as bar:
        while run.step < run.total_steps:
            for x, labels in run.rest_of_epoch():
                if schedule is not None:
                    optimizer.lr = at_least_zero("the schedule's lr", schedule(run.step))
                if augment is not None:
                    x = augment(x, run.chance())
                logits = net.forward(x, training=True)
                loss, dlogits = softmax_cross_entropy(logits, labels)
                run.require_finite_loss(loss, x)
                net.backward(dlogits, need_dx=False)  # nobody asks for the gradient of the images
                optimizer.step()
                run.after_step(loss, logits, labels, bar, evaluate)
                if interrupt.requested:
                    run.stop()
    return run.history


def evaluate(net: Network, data: Dataset, batch_size: int = 500, progress: bool = False) -> tuple[float, float]:
    """Mean cross-entropy in nats, and accuracy from 0 to 1, of a network on a data set.

    Computed in batches to keep memory small; `progress` shows a bar on stderr. Raises ValueError if there is no image.
    """
    positive("evaluate", "batch_size", batch_size)
    if not len(data):
        raise ValueError(f"{data.name}: expected at least one image to evaluate on, got none")
    loss_sum, correct = 0.0, 0
    for start in progress_bar(range(0, len(data), batch_size), "evaluating", progress):
        part = data[start : start + batch_size]
        logits = net.forward(part.images)
        loss, _ = softmax_cross_entropy(logits, part.labels)
        loss_sum += loss * len(part)
        correct += int((logits.argmax(axis=1) == part.labels).sum())
    return loss_sum / len(data), correct / len(data)
