"""The small changes of a learner's code that `repair.py` tries: other names, operators, numbers, axes, other places.

A change is made in the syntax tree, and taken back when the next one is asked for. A kind of change is a function: for
an expression it offers others to put in its place; for statements it changes the tree itself, and yields.
"""

from __future__ import annotations

import ast
import copy
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

# ---------------------------------------------------------------- places in the code, and what to write there


class Slot(NamedTuple):
    """A place in a tree: the field of a node, or an entry of the field's list."""

    parent: ast.AST
    field: str
    entry: int | None
    statement: ast.stmt  # that it is a part of
    in_index: bool  # whether it is a part of what stands in square brackets
    around: ast.AST  # the smallest part of the statement around it that can be read alone

    @property
    def node(self) -> Any:
        value = getattr(self.parent, self.field)
        return value if self.entry is None else value[self.entry]

    def put(self, node: Any) -> None:
        if self.entry is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.entry] = node


@dataclass(frozen=True)
class Change:
    """A change of the code: a function that says it in words while the tree has it, and the nodes that it touches."""

    what: Callable[[], str]
    touched: frozenset[int]


def slots(statements: Sequence[ast.stmt]) -> Iterator[Slot]:
    """Every expression in these statements, from the outside to the inside."""
    for statement in statements:
        inner = [s for s in ast.iter_child_nodes(statement) if isinstance(s, ast.stmt)]
        queue: list[tuple[ast.AST, bool, ast.AST]] = [(statement, False, statement)]
        while queue:
            node, in_index, around = queue.pop(0)
            for field, value in ast.iter_fields(node):
                inside = in_index or (isinstance(node, ast.Subscript) and field == "slice")
                for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                    if isinstance(child, ast.expr):
                        yield Slot(node, field, index, statement, inside, around)
                    if isinstance(child, (ast.expr, ast.keyword)):
                        alone = isinstance(child, (ast.BinOp, ast.Call, ast.Subscript, ast.Compare))
                        queue.append((child, inside, child if alone else around))
        yield from slots(inner)


def header(node: ast.AST) -> str:
    """An expression, or the first line of a statement, as Python would write it."""
    return ast.unparse(node).splitlines()[0]


def surroundings(slot: Slot) -> ast.AST:
    """What to show of a line that is changed: all of it, or if it is long, the expression around the change."""
    return slot.statement if len(header(slot.statement)) <= 60 else slot.around


def parsed(text: str) -> ast.expr:
    """The expression that a text is, also one that may stand in square brackets only, such as a slice."""
    subscript = ast.parse(f"a[{text}]", mode="eval").body
    assert isinstance(subscript, ast.Subscript)
    return subscript.slice


def names_in(function: ast.FunctionDef) -> list[str]:
    """The arguments of a function, and the names that it assigns."""
    arguments = [a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    stored = [n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return list(dict.fromkeys(n for n in arguments + stored if n not in ("self", "_")))


def load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


# ---------------------------------------------------------------- changes of an expression

ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.MatMult)
COMPARISONS = (ast.Gt, ast.GtE, ast.Lt, ast.LtE, ast.Eq, ast.NotEq)
ALIKE = (  # functions and methods that are taken for each other
    ("sum", "mean", "max", "min", "prod"),
    ("argmax", "argmin"),
    ("zeros", "ones", "empty"),
    ("zeros_like", "ones_like", "empty_like"),
    ("maximum", "minimum"),
    ("add", "subtract", "multiply", "divide"),
    ("dot", "multiply", "outer", "matmul"),
)
AXES = ("0", "1", "2", "3", "-1", "(0, 1)", "(1, 2)", "(0, 2)", "(0, 1, 2)", "None")


def other_operators(slot: Slot, names: Sequence[str]) -> Iterator[ast.expr]:
    """Other operators, operands exchanged, brackets elsewhere."""
    node = slot.node
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for kind in COMPARISONS:
            if not isinstance(node.ops[0], kind):
                yield ast.Compare(node.left, [kind()], node.comparators)
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if not isinstance(node, ast.BinOp):
        return
    yield node.left
    yield node.right
    for operator in ARITHMETIC:
        if not isinstance(node.op, operator):
            yield ast.BinOp(node.left, operator(), node.right)
    yield ast.BinOp(node.right, node.op, node.left)
    if isinstance(node.right, ast.BinOp):  # a * (b + c): a * b + c
        a, b, c = node.left, node.right.left, node.right.right
        yield ast.BinOp(ast.BinOp(a, node.op, b), node.right.op, c)
    if isinstance(node.left, ast.BinOp):  # a * b + c: a * (b + c)
        a, b, c = node.left.left, node.left.right, node.right
        yield ast.BinOp(a, node.left.op, ast.BinOp(b, node.op, c))


def other_functions(slot: Slot, names: Sequence[str]) -> Iterator[ast.expr]:
    """Another function or axis, arguments exchanged or left out, with or without .T and keepdims."""
    node = slot.node
    if isinstance(node, ast.Attribute):
        if node.attr == "T":
            yield node.value
        for group in ALIKE:
            if node.attr in group:
                yield from (ast.Attribute(node.value, other, node.ctx) for other in group if other != node.attr)
    if isinstance(node, ast.Call):
        yield from _other_arguments(node)
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield node.value
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
        yield ast.Attribute(node, "T", ast.Load())
    if isinstance(node, ast.Tuple) and 2 <= len(node.elts) <= 4:
        for a, b in itertools.combinations(range(len(node.elts)), 2):
            elements = list(node.elts)
            elements[a], elements[b] = elements[b], elements[a]
            yield ast.Tuple(elements, node.ctx)


def _other_arguments(call: ast.Call) -> Iterator[ast.expr]:
    for a, b in itertools.combinations(range(len(call.args)), 2):
        arguments = list(call.args)
        arguments[a], arguments[b] = arguments[b], arguments[a]
        yield ast.Call(call.func, arguments, call.keywords)
    for keyword in call.keywords:
        rest = [k for k in call.keywords if k is not keyword]
        yield ast.Call(call.func, call.args, rest)
        if keyword.arg == "axis":
            for axis in AXES:
                value = ast.parse(axis, mode="eval").body
                yield ast.Call(call.func, call.args, [*rest, ast.keyword("axis", value)])
    if isinstance(call.func, ast.Attribute) and call.func.attr in ALIKE[0]:
        kept = ast.keyword("keepdims", ast.Constant(True))
        yield ast.Call(call.func, call.args, [*call.keywords, kept])
        for axis in AXES if not any(k.arg == "axis" for k in call.keywords) else ():
            chosen = ast.keyword("axis", ast.parse(axis, mode="eval").body)
            yield ast.Call(call.func, call.args, [*call.keywords, chosen])
            yield ast.Call(call.func, call.args, [*call.keywords, chosen, kept])


def other_paddings(slot: Slot, names: Sequence[str]) -> Iterator[ast.expr]:
    """Rows and columns padded, and no other axis, of several images or of one."""
    node = slot.node
    if not (isinstance(node, ast.Call) and header(node.func).endswith("pad")):
        return
    widths = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "pad_width")]
    used = dict.fromkeys(n.id for width in widths for n in ast.walk(width) if isinstance(n, ast.Name))
    rest = [k for k in node.keywords if k.arg != "pad_width"]
    for p in used:
        for pairs in (f"(0, 0), ({p}, {p}), ({p}, {p}), (0, 0)", f"({p}, {p}), ({p}, {p}), (0, 0)"):
            yield ast.Call(node.func, [*node.args[:1], parsed(f"({pairs})"), *node.args[2:]], rest)


def ends_from_the_start(slot: Slot, names: Sequence[str]) -> Iterator[ast.expr]:
    """a[p : a.shape[k] - p] for a[p:-p], in every axis k: for p = 0, p:-p is empty."""
    node = slot.node
    if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple)):
        return
    array, parts = ast.unparse(node.value), node.slice.elts
    counted = [
        parsed(
            f"{ast.unparse(part.lower) if part.lower else ''} : {array}.shape[{k}] - {ast.unparse(part.upper.operand)}"
        )
        if isinstance(part, ast.Slice) and isinstance(part.upper, ast.UnaryOp) and isinstance(part.upper.op, ast.USub)
        else part
        for k, part in enumerate(parts)
    ]
    if counted != parts:
        yield ast.Subscript(node.value, ast.Tuple(counted, ast.Load()), node.ctx)


def other_slices(slot: Slot, names: Sequence[str]) -> Iterator[ast.expr]:
    """In both ends of a slice another name, or a name times another."""
    node = slot.node
    if isinstance(node, ast.Slice):
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        for old, name in itertools.product(sorted(used), names):
            yield Substitution({old: ast.BinOp(load(old), ast.Mult(), load(name))}).visit(copy.deepcopy(node))
            if old != name:
                yield Substitution({old: load(name)}).visit(copy.deepcopy(node))


class Substitution(ast.NodeTransformer):
    """Puts expressions in place of names."""

    def __init__(self, by: dict[str, ast.expr]) -> None:
        self.by = by

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self.by.get(node.id, node))  # a node that stood in two places would be changed in both


def other_numbers(slot: Slot, names: Sequence[str]) -> Iterator[ast.expr]:
    """Another number, or a name for a number."""
    node = slot.node
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        near = dict.fromkeys((0, 1, -1, node.value + 1, node.value - 1))
        yield from (ast.Constant(value) for value in near if value != node.value)
        yield from map(load, names)
        yield ast.UnaryOp(ast.USub(), ast.Attribute(load("np"), "inf", ast.Load()))


def one_more_or_less(slot: Slot, names: Sequence[str]) -> Iterator[ast.expr]:
    """One more and one less."""
    node = slot.node
    if isinstance(node, (ast.Name, ast.BinOp)) and _loaded(node):
        yield ast.BinOp(node, ast.Add(), ast.Constant(1))
        yield ast.BinOp(node, ast.Sub(), ast.Constant(1))


def exchanged_names(slot: Slot, names: Sequence[str]) -> Iterator[ast.expr]:
    """Two names inside an expression exchanged."""
    node = slot.node
    if isinstance(node, (ast.BinOp, ast.Slice)):
        used = dict.fromkeys(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in names)
        if len(used) <= 5:
            for a, b in itertools.combinations(used, 2):
                yield Substitution({a: load(b), b: load(a)}).visit(copy.deepcopy(node))


def other_names(slot: Slot, names: Sequence[str]) -> Iterator[ast.expr]:
    """Another name in its place."""
    node = slot.node
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
        yield from (load(name) for name in names if name != node.id)
        yield ast.Constant(0)
        yield ast.Constant(1)


def with_another_term(slot: Slot, names: Sequence[str]) -> Iterator[ast.expr]:
    """The result of a line, or a name in an index, times, divided by, plus and minus each name."""
    node = slot.node
    result = isinstance(slot.parent, (ast.stmt, ast.Tuple)) and slot.field in ("value", "elts")
    if (
        not _loaded(node)
        or isinstance(node, ast.Tuple)
        or not (result or (slot.in_index and isinstance(node, ast.Name)))
    ):
        return
    for operator in (ast.Mult, ast.Add, ast.Sub, *([ast.Div] if result else [])):
        yield from (ast.BinOp(node, operator(), load(name)) for name in names)
    yield ast.UnaryOp(ast.USub(), node)


def _loaded(node: Any) -> bool:
    return isinstance(getattr(node, "ctx", ast.Load()), ast.Load)


# ---------------------------------------------------------------- changes of statements


def other_assignments(function: ast.FunctionDef) -> Iterator[Change]:
    """= for +=, and the reverse."""
    for body, index in bodies(function):
        statement = body[index]
        new: ast.stmt
        if isinstance(statement, ast.AugAssign):
            for operator in (ast.Add, ast.Sub, ast.Mult, ast.Div):
                if not isinstance(statement.op, operator):
                    new = ast.AugAssign(statement.target, operator(), statement.value)
                    yield from _replaced(body, index, new)
            yield from _replaced(body, index, ast.Assign([statement.target], statement.value))
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], (ast.Name, ast.Subscript)):
            yield from _replaced(body, index, ast.AugAssign(statement.targets[0], ast.Add(), statement.value))


def _replaced(body: list[ast.stmt], index: int, new: ast.stmt) -> Iterator[Change]:
    old = body[index]
    body[index] = placed(new, old)
    yield Change(lambda: replacing(old.lineno, header(old), header(new)), frozenset({id(new), id(old)}))
    body[index] = old


def added_up(function: ast.FunctionDef) -> Iterator[Change]:
    """For a name that gets another value in each round of a loop: 0 before the loop, and a sum in it."""
    for body, index in bodies(function):
        loop = body[index]
        for inner, at in bodies(loop) if isinstance(loop, (ast.For, ast.While)) else ():
            old = inner[at]
            if not (isinstance(old, ast.Assign) and isinstance(old.targets[0], ast.Name)):
                continue
            zero = placed(ast.Assign(old.targets, ast.Constant(0)), loop)
            begun_anew = ast.unparse(old.value) in ("0", "0.0")
            new: ast.stmt = ast.Pass() if begun_anew else ast.AugAssign(old.targets[0], ast.Add(), old.value)
            inner[at] = placed(new, old)
            body.insert(index, zero)
            what = partial(_begun_before, old, loop) if begun_anew else partial(_added_up, old, new, loop)
            yield Change(what, frozenset({id(old), id(new)}))
            body.remove(zero)
            inner[at] = old


def _begun_before(zero: ast.Assign, loop: ast.stmt) -> str:
    return moved(zero, f"moved before the loop on line {loop.lineno}")


def _added_up(old: ast.Assign, new: ast.stmt, loop: ast.stmt) -> str:
    zero = f"{ast.unparse(old.targets[0])} = 0"
    return f"{replacing(old.lineno, header(old), header(new))}, and `{zero}` before the loop on line {loop.lineno}"


def other_places(function: ast.FunctionDef) -> Iterator[Change]:
    """A statement before or after the one that it stands beside, into a loop or out of it, or left out."""
    for body, index in bodies(function):
        statement = body[index]
        touched = frozenset({id(statement)})
        before, after = body[:index], body[index + 1 :]
        if after:
            body[:] = [*before, after[0], statement, *after[1:]]
            yield Change(partial(moved, statement, "moved down by one line"), touched)
            body[:] = [*before, statement, *after]
        for at, where in ((index - 1, "to the end"), (index + 1, "to the beginning")):
            loop = body[at] if 0 <= at < len(body) else None
            body[:] = [*before, *after]
            if isinstance(loop, (ast.For, ast.While)):
                kept = loop.body
                loop.body = [*kept, statement] if at < index else [statement, *kept]
                yield Change(partial(moved, statement, f"moved {where} of the loop on line {loop.lineno}"), touched)
                loop.body = kept
            body[:] = [*before, statement, *after]
        if before or after:
            body[:] = [*before, *after]
            yield Change(partial(moved, statement, "left out"), touched)
        body[:] = [*before, statement, *after]
        if isinstance(statement, (ast.For, ast.While)):
            yield from _out_of_the_loop(body, index, statement)


def _out_of_the_loop(body: list[ast.stmt], index: int, loop: ast.For | ast.While) -> Iterator[Change]:
    before, after, inner = body[:index], body[index + 1 :], loop.body
    if len(inner) < 2:
        return
    for statement, kept, new, where in (
        (inner[-1], inner[:-1], [loop, inner[-1]], "behind"),
        (inner[0], inner[1:], [inner[0], loop], "before"),
    ):
        loop.body, body[:] = kept, [*before, *new, *after]
        yield Change(
            partial(moved, statement, f"moved {where} the loop on line {loop.lineno}"), frozenset({id(statement)})
        )
        loop.body, body[:] = inner, [*before, loop, *after]


def bodies(node: ast.AST) -> Iterator[tuple[list[ast.stmt], int]]:
    """Every statement inside a node: the list that holds it, and its index there."""
    for field in ("body", "orelse"):
        body = getattr(node, field, None)
        if isinstance(body, list):
            for index, statement in enumerate(list(body)):
                yield body, index
                yield from bodies(statement)


def everywhere(function: ast.FunctionDef) -> Iterator[Change]:
    """An operator, a function or a name, changed wherever it stands; two names exchanged."""
    nodes = list(ast.walk(function))
    products = [n for n in nodes if isinstance(n, ast.BinOp)]
    for old, new, sign in ((ast.Mult, ast.MatMult, "@"), (ast.Div, ast.FloorDiv, "//")):
        found = [n for n in products if isinstance(n.op, old)]
        yield from _renamed(found, "op", [new() for _ in found], f"`{sign}` in place of `{'*/'[sign != '@']}`")
    for name, other in ((a, b) for group in ALIKE for a, b in itertools.permutations(group, 2)):
        called = [n for n in nodes if isinstance(n, ast.Attribute) and n.attr == name]
        yield from _renamed(called, "attr", [other] * len(called), f"`{other}` in place of `{name}`")
    loaded = [n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    for a, b in itertools.permutations(names_in(function), 2):
        found_a = [n for n in loaded if n.id == a]
        yield from _renamed(found_a, "id", [b] * len(found_a), f"`{b}` in place of `{a}`")
        both = [n for n in loaded if n.id in (a, b)]
        if a < b:
            yield from _renamed(both, "id", [b if n.id == a else a for n in both], f"`{a}` and `{b}` exchanged")


def axis_everywhere(function: ast.FunctionDef) -> Iterator[Change]:
    """An axis for every sum, mean, ... that is taken over all numbers."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and not node.keywords]
    for name, axis in itertools.product(ALIKE[0], AXES):
        whole = [call for call in calls if header(call.func).endswith(f".{name}")]
        chosen = placed(ast.keyword("axis", ast.parse(axis, mode="eval").body), function)
        yield from _renamed(whole, "keywords", [[chosen] for _ in whole], f"`axis={axis}` in each `{name}`")


def _renamed(nodes: Sequence[Any], field: str, new: Sequence[Any], what: str) -> Iterator[Change]:
    if len(nodes) < 2:  # one place: another kind of change
        return
    before = [getattr(node, field) for node in nodes]
    for node, value in zip(nodes, new, strict=True):
        setattr(node, field, value)
    lines = sorted({node.lineno for node in nodes})
    yield Change(lambda: f"{_lines(lines)}: {what}", frozenset(map(id, nodes)))
    for node, value in zip(nodes, before, strict=True):
        setattr(node, field, value)


# ---------------------------------------------------------------- all changes


def replacing(line: int, old: str, new: str) -> str:
    return f"line {line}: `{new}` in place of `{old}`"


def in_place_of(line: int, before: str, around: ast.AST) -> str:
    return replacing(line, before, header(around))


def also_in_the_mirror(lines: Sequence[int], old: str, new: str) -> str:
    return f"{_lines(lines)}: `{new}` in place of `{old}`, and likewise `{in_the_mirror(new)}`"


def _lines(lines: Sequence[int]) -> str:
    return f"line {lines[0]}" if len(lines) == 1 else f"lines {', '.join(map(str, lines[:-1]))} and {lines[-1]}"


def moved(statement: ast.stmt, where: str) -> str:
    return f"line {statement.lineno}, `{header(statement)}`, {where}"


def placed(new: Any, old: ast.AST) -> Any:
    """A new node with the line number of the one that it replaces."""
    return ast.fix_missing_locations(ast.copy_location(new, old))


def changes(tree: ast.Module) -> Iterator[Change]:
    """Every small change of the functions in a tree, likely ones first. The tree has it until the next is asked for."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    kinds: tuple[Callable[[ast.FunctionDef], Iterator[Change]], ...] = (
        *(partial(expressions, kind) for kind in (other_operators, other_functions, exchanged_names)),
        other_assignments,
        added_up,
        axis_everywhere,
        partial(expressions, other_paddings),
        partial(expressions, ends_from_the_start),
        partial(expressions, other_numbers),
        partial(expressions, other_slices),
        *(partial(mirrored, kind) for kind in (other_operators, exchanged_names, other_numbers, other_slices)),
        partial(expressions, other_names),
        partial(expressions, one_more_or_less),
        partial(mirrored, one_more_or_less),
        other_places,
        everywhere,
        partial(expressions, with_another_term),
        partial(mirrored, with_another_term),
    )
    for kind in kinds:
        for function in functions:
            yield from kind(function)


def expressions(
    kind: Callable[[Slot, Sequence[str]], Iterator[ast.expr]], function: ast.FunctionDef
) -> Iterator[Change]:
    """Each expression of a function replaced by those that `kind` offers for it."""
    names = names_in(function)
    for slot in list(slots(function.body)):
        old, around = slot.node, surroundings(slot)
        before = header(around)
        for new in kind(slot, names):
            slot.put(placed(new, old))
            what = partial(in_place_of, old.lineno, before, around)
            yield Change(what, frozenset({id(slot.parent), id(new), id(old)}))
        slot.put(old)


def mirrored(kind: Callable[[Slot, Sequence[str]], Iterator[ast.expr]], function: ast.FunctionDef) -> Iterator[Change]:
    """The same change of an expression and of those that do the same for the other axis: of `OH - 1` and `OW - 1`."""
    names = names_in(function)
    everything = list(slots(function.body))
    texts = [ast.unparse(slot.node) for slot in everything]
    for k, (slot, text) in enumerate(zip(everything, texts, strict=True)):
        other = in_the_mirror(text)
        if other == text:
            continue
        others = [s for s, t in zip(everything[k + 1 :], texts[k + 1 :], strict=True) if t == other]
        if not others or text in texts[:k]:
            continue
        same_text = [s for s, t in zip(everything[k:], texts[k:], strict=True) if t == text]
        for places in [[slot, others[0]], *([[*same_text, *others]] if len(same_text) + len(others) > 2 else [])]:
            yield from _at_all(places, text, [kind(slot, names)])


def _at_all(places: Sequence[Slot], text: str, offers: Sequence[Iterator[ast.expr]]) -> Iterator[Change]:
    before = [slot.node for slot in places]
    lines = sorted({node.lineno for node in before})
    for new in itertools.chain(*offers):
        written = ast.unparse(new)
        for slot, old in zip(places, before, strict=True):
            here = written if ast.unparse(old) == text else in_the_mirror(written)
            slot.put(placed(parsed(here), old))
        touched = frozenset(itertools.chain.from_iterable((id(s.parent), id(s.node)) for s in places))
        yield Change(partial(also_in_the_mirror, lines, text, written), touched)
        for slot, old in zip(places, before, strict=True):
            slot.put(old)


# Names for the two axes of an image or of a kernel, and for Adam's two means.
MIRROR = (
    ("H", "W"),
    ("h", "w"),
    ("i", "j"),
    ("top", "left"),
    ("row", "col"),
    ("y", "x"),
    ("a", "b"),
    ("beta1", "beta2"),
)


def in_the_mirror(text: str) -> str:
    """A text with the names of one axis in place of those of the other: KW for KH, j for i, oj for oi."""
    return re.sub(r"[A-Za-z_]\w*", lambda word: MIRRORED.get(word[0], word[0]), text)


MIRRORED = {
    start + a: start + b
    for first, second in MIRROR
    for a, b in ((first, second), (second, first))
    for start in (("",) if len(first) > 1 else ("", "O", "K", "P", "o", "k", "p", "i_", "n", "b"))
    if (start + a) not in ("x", "y", "w", "b")  # arrays of the exercises
}
