"""
15. Step through backprop
=========================

*After this lesson you can* watch how a gradient is computed: stage by stage with ``net.steps``, line by line in pdb or
VS Code, and inside a compiled kernel.

*Part:* under the hood. *Needs:* lessons 3 and 6. *Takes:* a few seconds to run, half an hour with a debugger.

There is no special teaching mode. The code that you step through is the NumPy engine itself, and any of the networks
trains with it. No wrapper, no dispatcher and no decorator stands between ``net.backward`` and the line that computes
``dw``.
"""

# %%
# A network that fits on a slip of paper
# --------------------------------------
# You can step through any network. A small one is easier, because you can read its arrays. This lesson uses the NumPy
# engine, unless the environment names the other one (see the last section).
#
# The smallest network that shows everything has two inputs, three units with a ReLU, and two classes. Compute it with a
# pencil before you run it. The input is ``x = (1, 2)``, its label is 0, and all biases are 0:
#
# .. code-block:: text
#
#     forward                                         backward, to be read from the bottom up
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
# A bias is added to its output, so its gradient is the gradient of that output: ``db1 = dh``, ``db2 = dlogits``.

import inspect
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
        print("    gradient passed on:", step.output + 0, *(f" {name}: {g.tolist()}" for name, g in step.grads.items()))
        np.testing.assert_allclose(step.output, by_hand[step.layer.name])
np.testing.assert_allclose(slip.layers[0].w.grad, [[0, 1 / 2, -1], [0, 1, -2]])
np.testing.assert_allclose(slip.layers[2].w.grad, [[0, 0], [-1, 1], [-1 / 2, 1 / 2]])
np.testing.assert_allclose(slip.layers[0].b.grad, [0, 1 / 2, -1])
assert abs(sn.softmax_cross_entropy(slip.forward(np.array([[1.0, 2.0]])), np.array([0]))[0] - 0.693) < 0.0005

# %%
# A network that fits on a screen
# -------------------------------
# The rest of this lesson steps through a network with convolutions that is small enough to look at.

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
# ``net.steps`` does the same as ``forward``, the loss and ``backward``, but one stage at a time. Each stage says which
# layer ran, in which direction, and with which arrays. The loop may look at anything, and it may stop at any stage.

x, labels = train.images[:2], train.labels[:2]
steps = []
for step in net.steps(x, labels):
    print(step)
    steps.append(step)

# %%
# There are seven layers forward, the loss forward and backward, and seven layers backward:

assert len(steps) == 7 + 2 + 7
assert [s.direction for s in steps].count("backward") == 8

# %%
# Read the backward half from the top: it mirrors the forward half. A forward stage takes the layer's input and returns
# its output. The backward stage takes the gradient for the output and returns the gradient for the input, so its shapes
# are the same two, exchanged. A stage with weights also stores ``dw`` and ``db``.
#
# You can check every number. For example, the ``dw`` of the second convolution should be ``columns^T @ dout``:

forward = next(s for s in steps if s.layer.name == "conv2" and s.direction == "forward")
backward = next(s for s in steps if s.layer.name == "conv2" and s.direction == "backward")
columns = sn.layers.im2col(forward.input, 3, 1, "valid")
product = (columns.T @ backward.input.reshape(-1, 6)).reshape(3, 3, 4, 6)
print("largest difference from the layer's own dw:", np.abs(product - backward.grads["conv2.w"]).max())
np.testing.assert_allclose(product, backward.grads["conv2.w"], rtol=1e-4, atol=1e-6)

# %%
# ``.venv/bin/scratchnet step`` shows such stages in the terminal, with pictures of the digit and of its gradient. It
# first trains a small network for some seconds; ``step standard_cnn`` takes another one. The keys ``n`` and ``b`` go to
# the next stage and back to the previous one, and ``d`` starts pdb at the layer that is shown. In a notebook, ``net``
# or a step on the last line of a cell is shown as a table.

gradient = np.abs(steps[-1].output[:1])  # |dx|: the gradient for the first digit's pixels
pictures = np.concatenate([x[:1], gradient / gradient.max()])
drawn = sn.plots.digit_grid(sn.Dataset(pictures, labels[[0, 0]], "digit, and |dx|"), 1, 2)
drawn.axes[1].set_title("|dx|", fontsize=11)
keep(drawn, "15_digit_and_gradient")

# %%
# Line by line
# ------------
# This is the training loop of ``sn.fit``, without the progress bar. A step takes five lines.


def train_a_little(net: sn.Network, data: sn.Dataset, steps: int, batch_size: int = 2) -> float:
    """Plain SGD on the first digits; return the last loss."""
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
# Set a breakpoint on ``net.backward(dlogits)``, and use *Step Into* on every call that passes a gradient on. On the way
# to the gradients of the second convolution you meet these frames, with nothing between them:
#
# 1. ``Network.backward`` in ``scratchnet/network.py`` loops over the layers, from the last to the first.
# 2. ``Conv2D.backward`` in ``scratchnet/layers/conv.py`` says which arrays go in.
# 3. ``conv2d_backward`` in the same file is the math. Its variables have the names of lesson 6.
#
# Before that call, the layer has two lines that check shapes and dtypes, with ``check_dout`` and ``weights``. Step over
# them.

code(sn.layers.conv2d_backward)

# %%
# In pdb
# ------
# pdb comes with Python and works over ssh. Here the lesson starts itself under pdb, in a process of its own, and types
# the commands for you. To type them yourself, run ``.venv/bin/python -m pdb lessons/15_step_through_backprop.py``.
# Begin with ``b LINE``, where LINE is that of ``net.backward(dlogits)`` (it is printed below), and then ``c``. At the
# end of the lesson pdb starts it anew; ``q`` quits. The commands of this lesson are:
#
# .. code-block:: text
#
#     b LINE        set a breakpoint                       p NAME        print
#     tbreak NAME   set one that stops only once           w             where am I: print all frames
#     c             go on to the next breakpoint           ll            list the whole function
#     n             run a line, and calls in it whole      u, d          look at the frame above, and back down
#     s             step into the call                     q             quit
#     r             run to the end of this function        until LINE    run on to that line of this function
#     cl N          clear breakpoint N
#
# Some variables have the name of a command: w, b, n and c. Print them with ``p w``.

HERE = Path(__file__).resolve()
BACKWARD = 1 + next(
    i for i, line in enumerate(HERE.read_text().splitlines()) if line.strip() == "net.backward(dlogits)"
)


def in_pdb(commands: list[str], **environment: str) -> str:
    """Run this lesson under pdb, type these commands, and return what pdb answers."""
    if "LESSON_IN_PDB" in os.environ:
        return ""  # pdb runs in this very process: do not start it again
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
        if command == "c":  # leave out what the lesson prints before it stops
            answer = answer[answer.rfind("\n> ") + 1 :]
        said += f"(Pdb) {command}\n{answer.rstrip()}\n"
    for folder in (HERE.parent.parent, Path(os.__file__).parent):
        said = said.replace(f"{folder}{os.sep}", "")  # shorten the paths of the project and of Python
    return said


transcript = in_pdb(
    [
        f"b {BACKWARD}",  # net.backward(dlogits), in train_a_little
        "c",
        "tbreak sn.layers.conv.conv2d_backward",  # t for temporary: it stops only once
        "c",
        "w",
        "n", "n", "n", "n", "n",  # past dw = ...
        "p dw.shape",
        "p db",
    ],
    SCRATCHNET_ENGINE="numpy",
)  # fmt: skip
print(f"net.backward(dlogits) is line {BACKWARD}\n")
print(transcript)

# %%
# ``w`` prints all frames, the newest last: the lesson's loop, the network, the layer, the math. The frames before these
# belong to pdb itself. After five lines, ``dw`` has the shape of the filters.

if transcript:
    assert "scratchnet/network.py" in transcript
    assert "(3, 3, 4, 6)" in transcript

# %%
# Back from a helper
# ------------------
# ``s`` goes into every call, also into one that you did not mean. Here it leads from the layer into ``check_dout``. You
# are not lost. ``u`` looks at the frame above: its line is the call that brought you here, and ``p`` prints its
# variables. This runs nothing, and ``d`` looks down again. ``r`` runs the helper to its end, and ``n`` then returns to
# the layer, to the line after the call. ``ll`` lists the function, and ``until`` with the number of a line below runs
# all lines up to there. Then ``s`` leads into the math. (In a loop, ``until`` alone runs on until the loop is over.)

CALL = inspect.getsourcelines(sn.Conv2D.backward)[1] + 3  # dx, dw, db = ops.conv2d_backward(...)

detour = in_pdb(
    [
        f"b {BACKWARD}",
        "c",
        "tbreak sn.layers.conv.Conv2D.backward",
        "c",
        "s",  # into check_dout, by mistake
        "u", "p dout.shape", "d",  # a look at the layer, and back
        "r", "n",  # to the end of the helper, and out of it
        "ll",
        f"until {CALL}",
        "s",  # into conv2d_backward
    ],
    SCRATCHNET_ENGINE="numpy",
)  # fmt: skip
print(detour)
if detour:
    helper, back, at_the_call, math = (detour.index(f"(Pdb) {typed}\n") for typed in ("s", "n", "ll", f"until {CALL}"))
    assert "check_dout()\n" in detour[helper:back]
    assert "(2, 1, 1, 6)" in detour[helper:back]
    assert "--Return--" in detour[helper:back]
    assert "-> w, _ = self.weights(dout.dtype)" in detour[back:at_the_call]
    assert "-> dx, dw, db = ops.conv2d_backward(" in detour[math:]
    assert "conv2d_backward()\n" in detour[math:]

# %%
# In VS Code
# ----------
# Open the project's folder and this file. Click left of ``net.backward(dlogits)`` to set a breakpoint, and start *"This
# lesson, step by step (NumPy engine)"*. F11 is *Step Into*, F10 is *Step Over*, and Shift+F11 is *Step Out*. The
# debugger steps over the Python code inside NumPy. *Variables* shows ``dout``, ``columns`` and ``dout_rows``. You can
# change a value there, and the training goes on with the new one. The project's tests do all this through the protocol
# that VS Code uses.
#
# Into a kernel
# -------------
# The compiled engine runs machine code, which a debugger cannot show. With ``NUMBA_DISABLE_JIT=1`` the same sources run
# as plain Python. This is slow, but the results are right, and you can stop inside the register tile (lesson 17). In VS
# Code, start *"This lesson, into the kernels (JIT disabled)"*. The way is the same: ``Network.backward``, then the
# layer, then the function of the same name, which is now in ``scratchnet/fast/``.

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
# 1. Which layers still learn if the ``dw`` of conv2 is lost? In pdb, stop at ``net.backward(dlogits)``, and set two
#    more breakpoints: ``tbreak`` with the number of the next line, and ``tbreak sn.layers.conv.conv2d_backward``. ``c``
#    stops in conv2 first, because backward begins at the end. Go to ``return dx, dw, db`` with ``n``, and type
#    ``dw[:] = 0``. (``dw = 0`` would not write into the array.) ``c`` leads to ``optimizer.step()``. Look at
#    ``p net.layers[3].w.value[0, 0]`` before and after that line. (In this step, the filters of conv2 stay as they are.
#    Its biases, conv1 and dense1 still learn.)
# 2. Find out with ``net.steps`` where a gradient becomes 0. Build the network anew, and set all of
#    ``net.layers[0].b.value`` to -10. From which stage on is the gradient all zeros, and why? (From relu2's backward
#    on. relu1 returns only zeros. The biases of conv2 are 0 in a new network, so its outputs are 0 as well, and ReLU
#    passes no gradient at 0. Only the last bias still learns, and nothing else ever changes again.) If you do the
#    same after ``train_a_little``, the gradient is 0 only from relu1 on. Why? (By then the biases of conv2 are not 0.)
# 3. Exercise 13, ``.venv/bin/scratchnet check 13``: write a layer of your own, and step through it in the same way.
#    (Lesson 14's ``Residual`` is one. The exercise's file says what a layer has to do.)
#
# *Next:* ``16_data_parallel.py``: one step, shared by several processes. *In the library:* ``scratchnet/network.py``.
