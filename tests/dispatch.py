"""What a call of the mirror goes through: the answers of the rules, the kernels, and how each divides its work.

`watched` wraps the rules of `fast/choose.py` and all kernels. So what a test covers is read from the calls themselves.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import re
import types
import typing
from collections.abc import Hashable
from contextlib import ExitStack, contextmanager
from unittest import mock

from guards import modules
from parts import PAIRED, PARTS, POSSIBLE, UNDIVIDED, VARIANTS, impossible

from scratchnet.fast import choose
from scratchnet.fast.product.tile import NARROW, WIDE
from scratchnet.fast.register.width import lanes
from scratchnet.layers.shapes import Window

MODULES = modules()
SOURCES = {module: inspect.getsource(module) for module in MODULES}

KERNELS = {
    node.name
    for source in SOURCES.values()
    for node in ast.parse(source).body
    if isinstance(node, ast.FunctionDef) and any(ast.unparse(d) == "kernel" for d in node.decorator_list)
}


# ---------------------------------------------------------------- the rules, and what each can answer


@functools.cache
def rules():
    """The functions of `choose` that other modules of the mirror call, by name."""
    others = "".join(source for module, source in SOURCES.items() if module is not choose)
    own = {name: f for name, f in vars(choose).items() if getattr(f, "__module__", "") == choose.__name__}
    return {name: f for name, f in own.items() if not isinstance(f, type) and re.search(rf"\b{name}\(", others)}


# By what a rule returns: how many to expect, as `answered` puts them.
ANSWERS = {
    bool: {True, False},
    choose.Shape: {"wide", "narrow"},
    choose.TileFor: {"wide", "narrow"},
    int: {"one", "several"},
    choose.Strips: {"one", "several"},
    choose.Cut: set(),  # how `product_rows` divides its work: see PARTS
    Window: set(),
    types.NoneType: set(),  # a note
}


def answers_of(rule):
    """All answers that a rule can give, from its annotation."""
    answer = typing.get_type_hints(inspect.unwrap(rule))["return"]
    words = typing.get_args(answer) if typing.get_origin(answer) is typing.Literal else None
    return set(words) if words else ANSWERS[answer]


def answered(value):
    """An answer in the words of ANSWERS."""
    if isinstance(value, choose.TileFor):
        return answered(value.shape)
    if isinstance(value, choose.Strips):
        return answered(value.number)
    if isinstance(value, tuple):
        return {WIDE: "wide", NARROW: "narrow"}.get(value)
    return value if isinstance(value, (bool, str)) or value is None else "one" if value == 1 else "several"


# ---------------------------------------------------------------- watching


def named(kernel, variant, *parts):
    return f"{kernel}{variant and f' ({variant})'}: {', '.join(parts)}"


def of_call(kernel, arguments):
    """What one call of a kernel covers: how each of its parts comes out, and some with the number of images."""
    variant, parts = PARTS[kernel](*arguments)
    outcomes = {part: f"{part} {function(*sizes)}" for part, (function, *sizes) in parts.items()}
    met = {named(kernel, variant, outcome) for outcome in outcomes.values()}
    pairs = {
        named(kernel, variant, outcomes["images"], outcomes[part]) for part in PAIRED & set(parts) if "images" in parts
    }
    return (kernel, variant), parts, met | pairs


class Seen:
    """What calls went through."""

    def __init__(self):
        self.answers = set()  # (rule, answer)
        self.parts = {}  # of each (kernel, variant): each part, and the function that names how it comes out
        self.outcomes = set()  # as `of_call` names them

    def call(self, kernel, arguments):
        which, parts, outcomes = of_call(kernel, arguments)
        self.parts.setdefault(which, {}).update({part: function for part, (function, *_) in parts.items()})
        self.outcomes |= outcomes

    def add(self, other):
        self.answers |= other.answers
        for which, parts in other.parts.items():
            self.parts.setdefault(which, {}).update(parts)
        self.outcomes |= other.outcomes

    def missing(self, dtype):
        """All that these calls have not gone through: answers, variants of kernels, and how their parts come out."""
        answers = {(name, answer) for name, rule in rules().items() for answer in answers_of(rule)}
        variants = {(kernel, variant) for kernel in PARTS for variant in VARIANTS.get(kernel, ("",))}
        outcomes = set()
        for (kernel, variant), parts in self.parts.items():
            never = impossible(kernel, variant, lanes(dtype))
            each = {
                part: [f"{part} {how}" for how in POSSIBLE[f] if f"{part} {how}" not in never]
                for part, f in parts.items()
            }
            outcomes |= {named(kernel, variant, outcome) for outcome in itertools.chain(*each.values())}
            for part in PAIRED & set(parts) if "images" in parts else ():
                outcomes |= {named(kernel, variant, *pair) for pair in itertools.product(each["images"], each[part])}
        return (answers - self.answers) | (variants - set(self.parts)) | (outcomes - self.outcomes)


@contextmanager
def watched():
    """Collect what the calls inside the `with` block go through."""
    seen, asking = Seen(), []

    def rule_spy(name, rule):
        @functools.wraps(rule)
        def ask(*arguments, **named_arguments):
            asking.append(name)
            try:
                answer = rule(*arguments, **named_arguments)
            finally:
                asking.pop()
            if not asking:  # what a rule asks another one is its own business
                seen.answers.add((name, answered(answer)))
            return answer

        return ask

    def kernel_spy(name, kernel):
        @functools.wraps(kernel)
        def run(*arguments):
            if name not in UNDIVIDED:
                seen.call(name, arguments)
            kernel(*arguments)

        return run

    spies = {rule: rule_spy(name, rule) for name, rule in rules().items()}
    for module in MODULES:
        for name in KERNELS & set(vars(module)):
            spies.setdefault(vars(module)[name], kernel_spy(name, vars(module)[name]))
    with ExitStack() as patches:
        for module in MODULES:
            found = {name: spies[f] for name, f in vars(module).items() if isinstance(f, Hashable) and f in spies}
            patches.enter_context(mock.patch.dict(vars(module), found))
        yield seen
