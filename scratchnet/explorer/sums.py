"""One number of an array, taken apart: which products it is the sum of.

Nearly every number of a walk through a network is a sum of products of other numbers. The book says which, in its
formulas:

    out[i, j, f] = b[f] + sum over kh, kw, c of  x[i*SH + kh - top, j*SW + kw - left, c] * w[kh, kw, c, f]

A `Sum` is one such line as data: the indices that it runs over, and the entries that it multiplies. `take_apart` looks
these entries up in the arrays of a walk. The page of the explorer shows what it returns; a page that was exported has
no Python, and follows the same data in `page/sums.js`. What each layer's numbers are sums of is in `kinds.py`.

Nothing here computes a layer. The number itself is always that of the array, and its terms stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Arrays = Mapping[str, np.ndarray]
Affine = Mapping[str, int]  #: {"i": 2, "kh": 1, "": -1} is 2*i + kh - 1
MOST = 24  # terms of a long sum that are listed, the largest ones; the others are given as one number


class Entry(NamedTuple):
    """A factor: one number of an array; or 1 or 0, for whether that number passes a test."""

    array: str
    at: tuple[Affine, ...]
    test: str = ""  #: "", "positive" or "equals"
    to: Affine = {}  # noqa: RUF012 (a NamedTuple's default is never changed)


class Sum(NamedTuple):
    """A sum of products over some indices, all from 0; without indices, one product."""

    over: Mapping[str, int]  #: each index and its size; a term with an entry outside its array is left out
    factors: tuple[Entry, ...]
    scale: float = 1.0
    crop: bool = False  #: show only where there are terms
    sparse: tuple[str, ...] = ()  #: arrays whose zeros make no term


class Number(NamedTuple):
    """How the numbers of one array come about."""

    letters: tuple[str, ...]  #: the names of the array's axes
    sums: tuple[Sum, ...]
    split: tuple[int, ...] = ()  #: the last axis is these axes in a row, and `letters` has a name for each of them

    def named(self, index: Sequence[int]) -> dict[str, int]:
        """The index of a number by the letters of its axes."""
        places = list(index)
        if self.split:
            places[-1:] = [int(place) for place in np.unravel_index(places[-1], self.split)]
        return dict(zip(self.letters, places, strict=True))


def letter(name: str) -> Affine:
    """The affine form that is one index."""
    return {name: 1}


def entry(array: str, *index: str | Affine, test: str = "", to: Affine | None = None) -> Entry:
    """An entry; an index may be given by its letter alone."""
    return Entry(array, tuple(letter(i) if isinstance(i, str) else i for i in index), test, to or {})


# ---------------------------------------------------------------- looking up


def take_apart(number: Number, arrays: Arrays, index: Sequence[int], layer: int | None = None) -> list[dict[str, Any]]:
    """The sums that make up a number.

    Parameters
    ----------
    number : Number
    arrays : dict of ndarray
        Without the axis of the batch, as the entries index them.
    index : tuple of int
        Of the number in its array.
    layer : int, optional
        Of a sum over three indices, which value of the third to show in full; that with the largest partial sum if not
        given.

    Returns
    -------
    list of dict
        One for each sum: "total"; "touched", of each array the range of the indices that made terms; "turned", of
        each factor whether it is shown turned by 180 degrees; and the terms in one of three forms. No index: "values",
        a number for each factor. One index: "terms", the largest ones, and "rest", how many more there are and their
        sum. Two or three: "grid", the factors, and "products", over the first two indices, with None where there is no
        term; and "layers", the partial sums over these two for each value of the third index.
    """
    places = number.named(index)
    return [_sum_of(part, arrays, places, layer) for part in number.sums]


def total(parts: list[dict[str, Any]]) -> float:
    """The sum of all terms of a number."""
    return math.fsum(part["total"] for part in parts)


def _sum_of(part: Sum, arrays: Arrays, places: Mapping[str, int], layer: int | None) -> dict[str, Any]:
    names, sizes = list(part.over), tuple(part.over.values())
    grid = dict(zip(names, np.indices(sizes, sparse=True), strict=True)) | dict(places)
    values, there = [], np.ones(sizes, bool)
    for factor in part.factors:
        value, inside = _look_up(factor, arrays[factor.array], grid)
        there &= inside & (value != 0 if factor.array in part.sparse else True)
        values.append(np.broadcast_to(value, sizes).astype(np.float64))
    products = np.where(there, math.prod(values, start=np.float64(part.scale)), 0.0)
    shown = {"factors": _names(part), "scale": part.scale, "over": names, "total": float(products.sum())}
    shown["touched"] = _touched(part, grid, there)
    shown["turned"] = [_is_turned(factor, part) for factor in part.factors if factor.array != "window"]
    visible = [value for factor, value in zip(part.factors, values, strict=True) if factor.array != "window"]
    if not names:
        return shown | {"values": [_plain(value) for value in visible]}
    if len(names) == 1:
        return shown | _list(part, places, visible, products, there)
    return shown | _grid(part, visible, products, there, layer)


def _look_up(factor: Entry, array: np.ndarray, grid: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The values of a factor at all places of a sum, and which of these are inside its array."""
    index = [_evaluate(form, grid) for form in factor.at]
    inside = np.array(True)
    for position, size in zip(index, array.shape, strict=True):
        inside = inside & (position >= 0) & (position < size)
    if not index:
        value = np.asarray(array)
    else:
        value = array[tuple(np.clip(position, 0, size - 1) for position, size in zip(index, array.shape, strict=True))]
    if factor.test == "positive":
        value = value > 0
    elif factor.test == "equals":
        value = value == _evaluate(factor.to, grid)
    return value, inside


def _evaluate(form: Affine, grid: Mapping[str, Any]) -> Any:
    return sum((times * grid[name] if name else times for name, times in form.items()), np.int64(0))


def _names(part: Sum) -> list[str]:
    tests = {"": "{}", "positive": "{} > 0", "equals": "wins"}
    return [tests[factor.test].format(factor.array) for factor in part.factors if factor.array != "window"]


def _is_turned(factor: Entry, part: Sum) -> bool:
    """Whether an array is read backward along the sum's indices: a kernel in dx, which is turned by 180 degrees."""
    return any(form.get(name, 0) < 0 for form in factor.at for name in part.over)


def _touched(part: Sum, grid: Mapping[str, Any], there: np.ndarray) -> dict[str, list[list[int]]]:
    """Of each factor's array, the smallest and the largest index of the entries that make terms."""
    found = {}
    for factor in part.factors:
        if factor.at and factor.array != "window" and there.any():
            every = [np.broadcast_to(_evaluate(form, grid), there.shape)[there] for form in factor.at]
            found[factor.array] = [[int(position.min()), int(position.max())] for position in every]
    return found


def _list(
    part: Sum, places: Mapping[str, int], values: list[np.ndarray], products: np.ndarray, there: np.ndarray
) -> dict[str, Any]:
    """The largest terms of a sum over one index, and what the others add up to."""
    order = np.argsort(-np.abs(products), kind="stable")
    order = order[there[order]]
    largest, others = order[:MOST], order[MOST:]
    terms: list[dict[str, Any]] = [
        {"at": int(k), "values": [_plain(v[k]) for v in values], "product": _plain(products[k])} for k in largest
    ]
    for factor in (factor for factor in part.factors if factor.array == "w"):  # so that it can be changed on the page
        for term in terms:
            at = {**places, next(iter(part.over)): term["at"]}
            term["w"] = [int(_evaluate(form, at)) for form in factor.at]
    return {"terms": terms, "rest": {"count": len(others), "sum": float(products[others].sum())}}


def _grid(
    part: Sum, values: list[np.ndarray], products: np.ndarray, there: np.ndarray, layer: int | None
) -> dict[str, Any]:
    """The factors and the products of a sum over two or three indices, over the first two of them."""
    shown: dict[str, Any] = {}
    if products.ndim == 3:
        partial = products.sum(axis=(0, 1))
        layer = int(np.abs(partial).argmax()) if layer is None else min(max(layer, 0), len(partial) - 1)
        shown |= {"layers": [_plain(value) for value in partial], "layer": layer}
        values, products, there = [v[..., layer] for v in values], products[..., layer], there[..., layer]
    rows, columns = slice(0, products.shape[0]), slice(0, products.shape[1])
    if part.crop and there.any():
        rows, columns = _extent(np.any(there, axis=1)), _extent(np.any(there, axis=0))
    cut = [np.where(there, value, np.nan)[rows, columns] for value in (*values, products)]
    in_lists = [[[None if np.isnan(v) else _plain(v) for v in row] for row in value] for value in cut]
    return shown | {"grid": in_lists[:-1], "products": in_lists[-1], "first": [rows.start, columns.start]}


def _extent(flags: np.ndarray) -> slice:
    where = np.flatnonzero(flags)
    return slice(int(where[0]), int(where[-1]) + 1)


def _plain(value: Any) -> float:
    """A Python float with nine digits, which tell every float32 apart."""
    return float(f"{float(value):.9g}")


# ---------------------------------------------------------------- for a page without Python


def as_data(number: Number) -> dict[str, Any]:
    """A `Number` as JSON can hold it, for `page/sums.js`."""
    return {
        "letters": number.letters,
        "split": number.split,
        "sums": [part._asdict() | {"factors": [factor._asdict() for factor in part.factors]} for part in number.sums],
    }
