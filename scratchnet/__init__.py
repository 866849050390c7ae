"""scratchnet: convolutional networks written by hand, to read, to step through, and to train.

The parts in reading order: data, layers, loss, network, models, optim, train.
"""

from scratchnet import data, interop, models
from scratchnet.average import WeightAverage
from scratchnet.data import Dataset
from scratchnet.engine import current_engine, use_engine
from scratchnet.explorer.run import explore
from scratchnet.fold import fold_batch_norm
from scratchnet.gradcheck import gradcheck
from scratchnet.layers import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    Parameter,
    PointwiseConv2D,
    ReLU,
    Resize,
)
from scratchnet.loss import softmax, softmax_cross_entropy
from scratchnet.network import Network, Step
from scratchnet.optim import SGD, Adam, constant, cosine, one_cycle, step_decay
from scratchnet.reading import FileFault
from scratchnet.runs.checkpoint import load, load_weights, save
from scratchnet.runs.metrics import History, read_metrics
from scratchnet.runs.run import TrainingDiverged
from scratchnet.show import plots
from scratchnet.show.kernels import explain
from scratchnet.train import evaluate, fit
from scratchnet.version import __version__

__all__ = [
    "data", "Dataset",
    "Layer", "Parameter", "Conv2D", "DepthwiseConv2D", "PointwiseConv2D", "MaxPool2D", "AvgPool2D", "Dense", "ReLU",
    "Dropout", "Flatten", "Resize", "BatchNorm",
    "softmax", "softmax_cross_entropy",
    "Network", "Step", "models", "fold_batch_norm",
    "SGD", "Adam", "constant", "step_decay", "cosine", "one_cycle", "WeightAverage",
    "fit", "evaluate", "History", "TrainingDiverged", "read_metrics",
    "save", "load", "load_weights", "FileFault",
    "use_engine", "current_engine", "explain", "explore", "gradcheck", "interop", "plots", "__version__",
]  # fmt: skip
