"""
10. Step through backprop
=========================

*After this lesson you can* watch a gradient being made: stage by stage with ``net.steps``, line by line in pdb or VS
Code, and inside a compiled kernel.

*Needs:* lessons 3 and 5. *Takes:* a few seconds to run, half an hour with a debugger in hand.

Nothing here is a special teaching mode. The code that you step through is the NumPy engine itself, with which any of
the networks trains: no wrapper, no dispatcher and no decorator stands between ``net.backward`` and the line that
computes ``dw``.
"""

# %%
# A network that fits on a slip of paper
# --------------------------------------
# Any network can be stepped through. A small one is kinder: its arrays can be read. The engine is the readable one,
# unless the environment asks for the other (we come to that).
#
# The smallest that shows everything: two inputs, three units with a ReLU, two classes. Work it out with a pencil before
# you let it run. The image is ``x = (1, 2)``, its label 0, the biases 0:
#
# .. code-block:: text
#
#     forward                                         backward, read from below
#     x        = (1, 2)                               dx      = dh @ W1^T             = (1, -1/2)
#     W1       =  1  0 -1                             dW1     = x^T @ dh              =  0 1/2 -1
#                -1  1  1                                                                0  1  -2
#     h        = x @ W1           = (-1, 2, 1)        dh      = dr where h > 0        = (0, 1/2, -1)
#     r        = max(h, 0)        = (0, 2, 1)         dr      = dlogits @ W2^T        = (-1/2, 1/2, -1)
#     W2       =  1  0                                dW2     = r^T @ dlogits         =   0   0
#                 0  1                                                                   -1   1
#                 2  0                                                                  -1/2 1/2
#     logits   = r @ W2           = (2, 2)            dlogits = p - (1, 0)            = (-1/2, 1/2)
#     p        = softmax          = (1/2, 1/2)        the loss is log 2 = 0.693
#
# A bias is added to each output, so its gradient is the output's: ``db1 = dh``, ``db2 = dlogits``.

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from showing import code, keep

import scratchnet as sn

sn.use_engine(os.environ.get("SCRATCHNET_ENGINE", "numpy"))

slip = sn.Network([sn.Dense(2, 3), sn.ReLU(), sn.Dense(3, 2)], input_shape=(2,), name="slip of paper")
slip.layers[0].w.value = np.array([[1.0, 0, -1], [-1, 1, 1]])
slip.layers[2].w.value = np.array([[1.0, 0], [0, 1], [2, 0]])
by_hand = {
    "softmax_cross_entropy": [[-1 / 2, 1 / 2]],
    "dense2": [[-1 / 2, 1 / 2, -1]],
    "relu1": [[0, 1 / 2, -1]],
    "dense1": [[1, -1 / 2]],
}
for step in slip.steps(np.array([[1.0, 2.0]]), np.array([0])):
    print(step)
    if step.direction == "backward":
        print("    gradient handed on:", step.output + 0, *(f" {name}: {g.tolist()}" for name, g in step.grads.items()))
        np.testing.assert_allclose(step.output, by_hand[step.layer.name])
np.testing.assert_allclose(slip.layers[0].w.grad, [[0, 1 / 2, -1], [0, 1, -2]])
np.testing.assert_allclose(slip.layers[2].w.grad, [[0, 0], [-1, 1], [-1 / 2, 1 / 2]])
np.testing.assert_allclose(slip.layers[0].b.grad, [0, 1 / 2, -1])
assert abs(sn.softmax_cross_entropy(slip.forward(np.array([[1.0, 2.0]])), np.array([0]))[0] - 0.693) < 0.0005

# %%
# A network that fits on a screen
# -------------------------------
# One with convolutions, small enough to look at, is what the rest of this lesson steps through.

train, test = sn.data.load("sample")
rng = np.random.default_rng(0)
net = sn.Network(
    [
        sn.Conv2D(1, 4, 5, stride=4, rng=rng),
        sn.ReLU(),
        sn.MaxPool2D(3, stride=2),
        sn.Conv2D(4, 6, 3, padding="valid", rng=rng),
        sn.ReLU(),
        sn.Flatten(),
        sn.Dense(6, 10, rng=rng),
    ],
    input_shape=(28, 28, 1),
    name="small",
)
print(net.summary())

# %%
# Stage by stage
# --------------
# ``net.steps`` does what ``forward``, the loss and ``backward`` do, one stage at a time. Each stage says which layer
# ran, in which direction, with which arrays; the loop body may look at anything, or stop in the middle.

x, labels = train.images[:2], train.labels[:2]
steps = []
for step in net.steps(x, labels):
    print(step)
    steps.append(step)

# %%
# Seven layers forward, the loss there and back, seven layers backward:

assert len(steps) == 7 + 2 + 7
assert [s.direction for s in steps].count("backward") == 8

# %%
# Read the backward half from its top: it is the forward half in a mirror. Each stage takes the gradient for its output
# and hands on the gradient for its input, and these have the shapes that the forward stage had, exchanged. The stages
# with weights also leave ``dw`` and ``db``.
#
# Every number is there to be checked. The second convolution's ``dw`` ought to be ``columns^T @ dout``:

forward = next(s for s in steps if s.layer.name == "conv2" and s.direction == "forward")
backward = next(s for s in steps if s.layer.name == "conv2" and s.direction == "backward")
columns = sn.layers.im2col(forward.input, 3, 1, "valid")
product = (columns.T @ backward.input.reshape(-1, 6)).reshape(3, 3, 4, 6)
print("largest difference from the layer's own dw:", np.abs(product - backward.grads["conv2.w"]).max())
np.testing.assert_allclose(product, backward.grads["conv2.w"], rtol=1e-4, atol=1e-6)

# %%
# The same walk in the terminal, with pictures of the digit and of its gradient: ``scratchnet step standard_cnn``. The
# keys ``n`` and ``b`` go to the next stage and back, and ``d`` drops into pdb at that very layer.

gradient = np.abs(steps[-1].output[:1])  # |dx|: the gradient for the first digit's pixels
pictures = np.concatenate([x[:1], gradient / gradient.max()])
drawn = sn.plots.digit_grid(sn.Dataset(pictures, labels[[0, 0]], "digit, and |dx|"), 1, 2)
drawn.axes[1].set_title("|dx|", fontsize=11)
keep(drawn, "10_digit_and_gradient")

# %%
# Line by line
# ------------
# This is the training loop, as ``sn.fit`` has it, without the progress bar. It is short: five lines a step.


def train_a_little(net: sn.Network, data: sn.Dataset, steps: int, batch_size: int = 2) -> float:
    """Plain SGD on the first digits; returns the last loss."""
    optimizer = sn.SGD(net.parameters(), lr=0.05)
    for start in range(0, steps * batch_size, batch_size):
        batch = data[start : start + batch_size]
        logits = net.forward(batch.images, training=True)
        loss, dlogits = sn.softmax_cross_entropy(logits, batch.labels)
        net.backward(dlogits)
        optimizer.step()
    return loss


last_loss = train_a_little(net, train, steps=3)
print(f"the loss after three steps: {last_loss:.4f}")

# %%
# Set a breakpoint on ``net.backward(dlogits)``, and *Step Into* every call that hands a gradient on. On the way to the
# second convolution's gradients these are the frames that you meet, and nothing stands between them:
#
# 1. ``Network.backward`` in ``scratchnet/network.py``: a loop over the layers, from the last to the first;
# 2. ``Conv2D.backward`` in ``scratchnet/layers/conv.py``: which arrays go in;
# 3. ``conv2d_backward`` in the same file: the math. Its locals are named as in lesson 5.
#
# The layer's two lines before the last call, ``check_dout`` and ``weights``, see to shapes and dtypes: step over them.

code(sn.layers.conv2d_backward)

# %%
# In pdb
# ------
# pdb comes with Python and works over ssh. The lesson starts itself under pdb here, in a process of its own, and types
# the commands for you; on your own you would run ``python -m pdb lessons/10_step_through_backprop.py``. The commands:
# ``b`` sets a breakpoint, ``c`` continues to it, ``n`` runs a line, ``s`` steps into, ``p`` prints, ``w`` says where we
# are, ``q`` ends.

HERE = Path(__file__).resolve()
BACKWARD = 1 + next(
    i for i, line in enumerate(HERE.read_text().splitlines()) if line.strip() == "net.backward(dlogits)"
)


def in_pdb(commands: list[str], **environment: str) -> str:
    """What pdb answers when this lesson runs under it and these commands are typed."""
    if "LESSON_IN_PDB" in os.environ:
        return ""  # this is the process that pdb was started in: do not start another
    result = subprocess.run(
        [sys.executable, "-m", "pdb", HERE.name],
        input="\n".join([*commands, "q"]) + "\n",
        cwd=HERE.parent,
        env=os.environ | {"LESSON_IN_PDB": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    answers = result.stdout.split("(Pdb) ")[1:]
    said = ""
    for command, answer in zip(commands, answers, strict=False):
        if command == "c":  # what the lesson prints on the way stands above already: show only where it stops
            answer = answer[answer.rfind("\n> ") + 1 :]
        said += f"(Pdb) {command}\n{answer.rstrip()}\n"
    for folder in (HERE.parent.parent, Path(os.__file__).parent):
        said = said.replace(f"{folder}{os.sep}", "")  # shorter names of the project's files, and of Python's
    return said


transcript = in_pdb(
    [
        f"b {BACKWARD}",  # net.backward(dlogits), in train_a_little
        "c",
        "tbreak sn.layers.conv.conv2d_backward",  # t: only once
        "c",
        "w",
        "n", "n", "n", "n", "n",  # past dw = ...
        "p dw.shape",
        "p db",
    ],
    SCRATCHNET_ENGINE="numpy",
)  # fmt: skip
print(transcript)

# %%
# ``w`` prints the whole way, the newest frame last: the lesson's loop, the network, the layer, the math; what comes
# before them is pdb itself. After five lines, ``dw`` has the shape of the filters.

if transcript:
    assert "scratchnet/network.py" in transcript
    assert "(3, 3, 4, 6)" in transcript

# %%
# In VS Code
# ----------
# Open the project's folder, open this file, click left of ``net.backward(dlogits)`` to set a breakpoint and start
# *"This lesson, step by step (NumPy engine)"*. F11 is *Step Into*, F10 *Step Over*, Shift+F11 *Step Out*; what is
# Python inside NumPy is stepped over. Under *Variables* stand ``dout``, ``columns``, ``dout_rows``; a value may be
# changed there, and the training goes on with it. The project's tests do all this, in the protocol that VS Code speaks.
#
# Into a kernel
# -------------
# The compiled engine runs machine code, and a debugger sees nothing of it. With ``NUMBA_DISABLE_JIT=1`` the same
# sources run as plain Python, slowly and correctly, so that one can stand inside the register tile. In VS Code that is
# the configuration *"This lesson, into the kernels (JIT disabled)"*. The way there is the same: ``Network.backward``,
# the layer, the function of the same name, now in ``scratchnet/fast/``.

kernel_transcript = in_pdb(
    [
        f"b {BACKWARD}",
        "c",
        "import scratchnet.fast.conv",
        "tbreak scratchnet.fast.conv.conv2d_backward",
        "c",
        "w",
        "p dout.shape",
    ],
    NUMBA_DISABLE_JIT="1",
    SCRATCHNET_ENGINE="numba",
)
print(kernel_transcript)
if kernel_transcript:
    assert "scratchnet/fast/conv.py" in kernel_transcript
    assert "(2, 1, 1, 6)" in kernel_transcript

# %%
# Try it
# ------
# 1. In pdb, at the end of ``conv2d_backward``, set ``dw[:] = 0`` and continue. Which layers still learn, and which does
#    not?
# 2. Find out with ``net.steps`` where a network goes blind: build it anew, and set ``net.layers[0].b.value`` to -10
#    everywhere. From which stage on is the gradient all zeros, and why? (From relu2's backward on. relu1 gives nothing
#    but zeros, conv2's biases are 0 in a new network, so its outputs are as well, and ReLU passes nothing at 0. Only
#    the last bias still learns; the rest never recovers.) Why is it only from relu1 on if you do the same after
#    ``train_a_little``? (By then conv2's biases are not 0.)
# 3. Exercise ``scratchnet check 13``: write a layer of your own, and step through it in the same way.
#
# *Next:* ``11_to_the_limit.py``: how the compiled engine gets its speed. *In the library:* ``scratchnet/network.py``.
