"""The errors that `make mutants` plants: each is a program, and what is called equivalent is still there."""

from __future__ import annotations

import ast
import importlib
import random

import pytest
from conftest import ROOT


@pytest.fixture
def mutants(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("mutants")


def test_each_file_gives_programs_with_one_error(mutants):
    drawn = random.Random(0)
    for room in mutants.ROOMS.values():
        assert mutants.sources(room)
        for path in mutants.sources(room)[:3]:
            right = path.read_bytes()
            found = mutants.mutants_of(path)
            for mutant in drawn.sample(found, min(20, len(found))):
                wrong = mutant.source(right)
                assert ast.dump(ast.parse(wrong)) != ast.dump(ast.parse(right)), mutant


def test_all_kinds_of_errors_are_planted(mutants, tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    path = tmp_path / "one.py"
    path.write_text('"""Text."""\n\n\ndef f(a: int = 3) -> int:\n    a += 1\n    return min(a, 2) if a < 5 else -a\n')
    found = {mutant.text for mutant in mutants.mutants_of(path)}
    assert "a [[+= 1 -> -= 1]]" not in found, "the whole statement is replaced"
    assert {"[[a += 1 -> a = 1]]", "[[a += 1 -> a -= 1]]", "a += [[1 -> 2]]", "a += [[1 -> 0]]"} < found
    assert "return min(a, 2) if [[a < 5 -> (a <= 5)]] else -a" in found
    assert "return [[min -> max]](a, 2) if a < 5 else -a" in found
    assert "return min(a, 2) if a < 5 else [[-a -> a]]" in found
    assert "return [[min(a, 2) if a < 5 else -a -> (-a if a < 5 else min(a, 2))]]" in found
    assert not any("Text" in text for text in found)


def test_what_is_called_equivalent_is_still_there(mutants):
    paths = {path for path, _ in mutants.EQUIVALENT}
    found = {(m.path, m.text) for path in paths for m in mutants.mutants_of(ROOT / path)}
    assert set(mutants.EQUIVALENT) <= found
    assert all(len(reason) > 20 for reason in mutants.EQUIVALENT.values())
