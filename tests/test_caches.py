"""The sizes of caches come from the system, and a common one where it says nothing."""

from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace

import pytest

from scratchnet.fast import caches, choose


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """A function that has Linux list caches: (level, size) of each; None: no such file."""

    def say(*entries):
        for i, entry in enumerate(entries):
            folder = tmp_path / f"index{i}"
            folder.mkdir()
            for name, content in zip(("level", "size"), entry, strict=True):
                if content is not None:
                    (folder / name).write_text(f"{content}\n")
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(caches, "LISTED", tmp_path)

    return say


def test_linux_lists_them(listed):
    listed((1, "48K"), (1, "32K"), (2, "2048K"), (3, "266240K"))
    assert caches.second_level() == 2 << 20


@pytest.mark.parametrize(
    "entries", [[], [(1, "32K")], [(2, "")], [(2, None)], [(2, "many")], [(2, "0K")], [(2, "-1K")]]
)
def test_where_linux_says_nothing_a_common_size_is_taken(entries, listed):
    listed(*entries)
    assert caches.second_level() == caches.COMMON


@pytest.mark.parametrize("size", [4 << 20, 0])
def test_macos_knows_it_by_name(size, monkeypatch):
    def sysctlbyname(name, value, length, new, new_length):
        assert name == b"hw.l2cachesize"
        value._obj.value = size
        return 0 if size else -1

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(sysctlbyname=sysctlbyname))
    assert caches.second_level() == (size or caches.COMMON)


def test_elsewhere_a_common_size_is_taken(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert caches.second_level() == caches.COMMON


def test_packed_panels_leave_room_for_the_output():
    assert caches.second_level() // 2 == choose.PACKED
