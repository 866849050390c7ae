"""What a diagnosis may claim: nothing that a case which came out right contradicts."""

from __future__ import annotations

import numpy as np
import pytest

from scratchnet.exercises.diagnose import diagnose
from scratchnet.exercises.exercise import Case, Task, random_arrays, traits


def cases(*sizes):
    """A case for each batch size, of 3 numbers an example; batches above 2 have a trait."""
    return [Case({"x": random_arrays(i, (N, 3))[0]}, traits(many=N > 2)) for i, N in enumerate(sizes)]


def task(*sizes):
    return Task("double", ("out",), lambda x: 2 * x, cases(*sizes))


def times(factor, when=lambda x: True):
    """A function that gives the right numbers times a factor of the batch size N, where `when` is true."""
    return lambda x: 2 * x * (factor(len(x)) if when(x) else 1)


def test_an_extra_factor_n_is_named():
    assert "an extra factor N" in diagnose(task(1, 2, 5), times(lambda N: N))[0]
    assert "an extra factor 1/N" in diagnose(task(1, 2, 5), times(lambda N: 1 / N))[0]


@pytest.mark.parametrize("factor", [lambda N: N, lambda N: 1 / N])
def test_no_factor_n_is_claimed_that_a_right_case_would_have_shown(factor):
    """Right for N = 2, where a factor N would show; wrong by it for N = 5."""
    finding = diagnose(task(1, 2, 5), times(factor, when=lambda x: len(x) > 2))[0]
    assert "extra factor N" not in finding
    assert "extra factor 1/N" not in finding
    assert f"an extra factor {factor(5):g}" in finding
    assert "with many" in finding


def test_numbers_of_another_number_of_axes_are_no_error():
    """The sum over axis 1 of a vector does not exist."""
    scalar = Task("total", ("out",), lambda x: x.sum(), cases(2, 5))
    assert "wrong shape" in diagnose(scalar, lambda x: x.sum(axis=0) ** 2)[0]


def test_a_reversed_sign_says_where():
    assert (
        "the sign is reversed: an extra factor -1\nAll cases with many are so, all others are right"
        in (diagnose(task(1, 2, 5), times(lambda N: -1, when=lambda x: len(x) > 2))[0])
    )


@pytest.mark.parametrize("in_all", [True, False])
def test_a_mistake_is_claimed_only_if_it_does_the_same_on_every_case(in_all):
    exercise = task(1, 2, 5)
    exercise.mistake("the last example is forgotten")(lambda x: 2 * x * (np.arange(len(x)) < len(x) - 1)[:, None])

    def forgets(x):
        out = 2 * x
        if in_all or len(x) > 2:
            out[-1] = 0
        return out

    assert ("forgotten" in diagnose(exercise, forgets)[0]) is in_all


def test_a_mistake_that_changes_nothing_is_never_claimed():
    """Its numbers are right on these cases, so that it explains no wrong one."""
    exercise = task(1, 2, 5)
    exercise.mistake("harmless here")(lambda x: 2 * x)
    assert diagnose(exercise, lambda x: 2 * x) == []
    assert all("harmless" not in finding for finding in diagnose(exercise, lambda x: 3 * x))


def test_a_mistake_in_one_output_is_not_claimed_for_the_other():
    two = Task("two", ("a", "b"), lambda x: (2 * x, 3 * x), cases(2, 5))
    two.mistake("b is halved")(lambda x: (2 * x, 1.5 * x))
    findings = diagnose(two, lambda x: (2 * x, 1.5 * x))
    assert findings == ["b: b is halved", "a is right"]
    findings = diagnose(two, lambda x: (x**2, 1.5 * x))
    assert findings[1] == "b: b is halved"
    assert "halved" not in findings[0]
