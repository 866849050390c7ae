"""The training loop, on one screen. Files, the progress bar and resuming are in `runs/`."""

from __future__ import annotations

from pathlib import Path

from scratchnet.average import WeightAverage
from scratchnet.data import Dataset
from scratchnet.loss import softmax_cross_entropy
from scratchnet.network import Network
from scratchnet.optim import Optimizer, Schedule
from scratchnet.parallel.team import under_mpiexec
from scratchnet.parallel.train import fit_in_shards
from scratchnet.progress import progress_bar
from scratchnet.runs.interrupt import interruptible
from scratchnet.runs.metrics import History
from scratchnet.runs.run import EVALUATION_BATCH, Augment, Run
from scratchnet.settings import at_least_zero, instance, positive


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
    average: WeightAverage | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    checkpoint_every: int | None = None,
    shards: int | None = None,
    synchronised: bool = False,
    progress: bool = True,
) -> History:
    """Train a network by backprop on seeded batches.

    Parameters
    ----------
    net : Network
    train : Dataset
        What to train on, in a new order each epoch. The last, partial batch is included.
    test : Dataset, optional
        Evaluated at the end of each epoch. Training does not depend on it, so a resumed run may have another one.
    optimizer : Optimizer
        Made with `net.parameters()`.
    epochs, steps : int
        How long to train; give one of the two.
    batch_size : int
    seed : int
        Seed of the images' order. With the network's own seed it determines the result, bit for bit, on one machine.
        (On the NumPy engine BLAS computes the matrix products. With another number of threads it may add in another
        order.)
    schedule : function from step (0, 1, ...) to learning rate, optional
        If not given, the optimiser's lr stays the same.
    augment : function from (images, generator) to images, optional
        Changes each batch before the network sees it: `data.RandomAffine` rotates and shifts. What it draws from the
        generator depends only on the seed and the step, so a resumed run draws the same.
    average : WeightAverage, optional
        Of this network's weights. It is updated after each step, the network is tested with it, and has it at the end
        instead of the last step's weights. A run that is interrupted has its own weights, and goes on with both.
    folder : path, optional
        Where to write `checkpoint.safetensors`, which has all that the run needs to continue, and `metrics.jsonl`, with
        a line, a JSON object, for each step and epoch. Without a folder nothing is written.
    resume : bool
        Continue from the folder's checkpoint, if there is one. The weights at the end are those of an uninterrupted run
        with the same arguments, bit for bit. So what determined the steps so far must be the same: the network, the
        optimiser and the learning rate of each step, the engine, the images and labels, batch_size, seed, augment and
        average. The run may now be longer than first planned, and its folder may have been moved or copied. On another
        machine, whose registers have another width or whose BLAS is another, it goes on as well, but the bits may
        differ.
    checkpoint_every : int, optional
        Steps from one checkpoint to the next; at the end of each epoch if not given.
    shards : int, optional
        Cut each batch into so many parts, and add their gradients in an order that is always the same. The result is
        then the same, bit for bit, in one process and in many that `mpiexec` starts (there the default is 8). It
        differs from that without shards by rounding.
    synchronised : bool
        Whether batch normalisation takes the statistics of the whole batch, which costs two messages for each such
        layer. Otherwise it takes those of a shard ("ghost batches"). Without shards it makes no difference.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    History
        Of all steps, including those before a resume.

    Raises
    ------
    TrainingDiverged
        If the loss or a weight becomes NaN or infinite: the message names the step and the likely cause.
    KeyboardInterrupt
        If interrupted by Ctrl-C, SIGTERM or SIGHUP: the current step is finished first, and a checkpoint is written if
        there is a folder; the message says how to continue. A second Ctrl-C stops at once. Outside the main thread,
        signals are not looked at. A SIGTERM or SIGHUP that the program ignores or handles itself is left to it.
    FileExistsError
        If the folder holds a checkpoint, and `resume` is false.
    OSError
        If another process has a run in the folder (the message names it), or if the folder cannot be written, also
        because it was deleted or moved in the meantime; the message says what there is to go on from.
    ValueError
        If an argument is out of range, the optimiser has other parameters than the network's, or the checkpoint is
        of another run (the message says what differs) or its metrics are damaged.
    """
    if shards is not None or under_mpiexec():
        return fit_in_shards(**locals())  # the same loop, shared by several processes: see parallel/train.py
    run = Run(
        net,
        train,
        test,
        optimizer,
        schedule,
        augment,
        average,
        epochs,
        steps,
        batch_size,
        seed,
        folder,
        checkpoint_every,
    )
    with run.kept(resume), interruptible() as interrupt, run.bar(progress, interrupt) as bar:
        while run.step < run.total_steps:
            for x, labels in run.rest_of_epoch():
                if schedule is not None:
                    optimizer.lr = at_least_zero("fit", "the schedule's lr", schedule(run.step))
                if augment is not None:
                    x = augment(x, run.chance())
                logits = net.forward(x, training=True)
                loss, dlogits = softmax_cross_entropy(logits, labels)
                run.require_finite_loss(loss, x)
                net.backward(dlogits, need_dx=False)  # the gradient of the images is not needed
                optimizer.step()
                if average is not None:
                    average.update()
                run.after_step(loss, logits, labels, bar, evaluate)
                if interrupt.signal is not None:
                    run.stop(interrupt.signal)
    if average is not None:
        average.put_into_network()
    return run.history


def evaluate(
    net: Network, data: Dataset, batch_size: int = EVALUATION_BATCH, progress: bool = False
) -> tuple[float, float]:
    """Mean cross-entropy in nats, and accuracy from 0 to 1, of a network on a data set.

    Computed in batches to keep memory small; `progress` shows a bar on stderr. Raises ValueError if there is no image.
    """
    instance("evaluate", "net", net, Network)
    instance("evaluate", "data", data, Dataset)
    batch_size = positive("evaluate", "batch_size", batch_size)
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
