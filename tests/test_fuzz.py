"""Damaged files and odd arguments: only documented errors, nothing half changed, little memory. See `fuzzing.py`."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scratchnet.reading import (
    BELOW_ONE,
    COUNT,
    NAME,
    NOT_NEGATIVE,
    NUMBER,
    OBJECT,
    POSITIVE,
    SHARE,
    TEXT,
    FileFault,
    check,
    if_given,
    one_of,
    or_null,
    parse_json,
)
from scratchnet.runs.container import DESCRIPTIONS
from scratchnet.runs.metrics import read_metrics

INPUTS = int(os.environ.get("SCRATCHNET_FUZZ", "300"))  # of each format; 10000 take some minutes
LARGEST_MIB = 1024
FORMATS = ("idx", "gzip", "model", "checkpoint", "settings", "metrics", "picture", "sample", "csv", "npz", "command")
SLOW_ONES = {"sample": 10, "command": 3}  # how many times fewer inputs they get

FUZZING = Path(__file__).with_name("fuzzing.py")


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_input_raises_only_documented_errors_and_changes_nothing(name):
    count = INPUTS // SLOW_ONES.get(name, 1) if INPUTS < 10_000 else INPUTS
    environment = os.environ | {"SCRATCHNET_ENGINE": "numpy"}
    done = subprocess.run(
        [sys.executable, FUZZING, name, str(count)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert not figures["peak_mib"] > LARGEST_MIB  # NaN where the system does not say
    assert sum(value for key, value in figures.items() if key in ("read", "refused") or "exit" in key) == count
    assert figures.get("refused", figures.get("exit code 1")) > count // 5, "most are damaged enough to be refused"


# ---------------------------------------------------------------- values of JSON


TEXTS = st.text(max_size=5) | st.text(st.characters(categories=["Cs"]), min_size=1, max_size=2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KINDS = {
    TEXT: lambda v: isinstance(v, str),
    NAME: lambda v: isinstance(v, str) and v.encode("utf-8", "ignore").decode() == v,
    COUNT: lambda v: type(v) is int and 0 <= v < 2**63,
    POSITIVE: lambda v: type(v) is int and 1 <= v < 2**63,
    NUMBER: lambda v: type(v) is float or (type(v) is int and abs(v) < 2**63),
    NOT_NEGATIVE: lambda v: 0 <= v < (math.inf if type(v) is float else 2**63) if type(v) in (int, float) else False,
    SHARE: lambda v: type(v) in (int, float) and 0 <= v <= 1,
    BELOW_ONE: lambda v: type(v) in (int, float) and 0 <= v < 1,
    OBJECT: lambda v: isinstance(v, dict),
    one_of("a", 1, None): lambda v: v == "a" or v is None or (type(v) is int and v == 1),
    or_null(POSITIVE): lambda v: v is None or (type(v) is int and 1 <= v < 2**63),
}


@pytest.mark.parametrize("kind", list(KINDS), ids=lambda kind: kind.text)
@given(value=JSON)
def test_a_kind_takes_what_its_words_say(kind, value):
    assert bool(kind.fits(value)) == KINDS[kind](value)
    if KINDS[kind](value):
        check("file", {"a": [value]}, {"a": [kind]})
        return
    with pytest.raises(FileFault, match=rf"^file: expected a\[0\] to be {re.escape(kind.text)}, got ") as fault:
        check("file", {"a": [value]}, {"a": [kind]})
    assert len(str(fault.value)) < 400


@given(value=JSON)
def test_a_value_that_passes_has_every_key(value):
    for expected in DESCRIPTIONS.values():
        with pytest.raises(FileFault, match="^file: expected "):
            check("file", value, expected)


def test_a_missing_key_is_named_unless_it_may_be_missing():
    with pytest.raises(FileFault, match=r"^m: expected network\.name, but there is none"):
        check("m", {"network": {}}, {"network": {"name": TEXT}})
    with pytest.raises(FileFault, match=r"^m: expected line 3\.a to be an object, got 'x'"):
        check("m", {"a": "x"}, {"a": {"b": TEXT}}, "line 3")
    check("m", {}, {"a": if_given(TEXT)})
    with pytest.raises(FileFault, match="^m: expected a to be text, got 3"):
        check("m", {"a": 3}, {"a": if_given(TEXT)})


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000, "{'a': 1}", b"\xff", "nul", '{"a": 1} x'])
def test_text_that_is_no_json_is_named(text):
    with pytest.raises(FileFault, match="^m: line 2 is damaged: expected JSON, got"):
        parse_json("m", text, "line 2")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.binary(max_size=30) | JSON.map(lambda v: json.dumps(v).encode()), max_size=4))
def test_lines_that_are_no_metrics_are_named(tmp_path, lines):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    if any(line for line in lines):
        with pytest.raises(FileFault, match=r"metrics\.jsonl: (line \d+|expected line \d|damaged)"):
            read_metrics(path)
