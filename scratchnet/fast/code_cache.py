"""Compiled code on disk: one file for each kernel, types of its arguments and processor.

The files are below NUMBA_CACHE_DIR or the user's cache folder, in a folder of their own for each version of the
mirror's sources. Numba's own cache would notice when a kernel's file changes, but not when a function does that the
kernel calls. And it has an index, which two processes that write at once leave pointing at each other's code, and
without which, cut off by a crash, nothing starts any more.

Here there is no index. The name of a file is a digest of all that its code depends on, and the file begins with a
digest of its content. It is replaced as a whole. So code is right, or it is compiled again; what became of the file is
said in one line. The content is Numba's, a pickle: like any program that this user runs, it is safe as long as no one
else can write into the user's cache.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config, serialize
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult

from scratchnet.cache import cache_folder
from scratchnet.console import say
from scratchnet.layers import shapes
from scratchnet.writing import written_atomically

DIGEST = hashlib.sha256().digest_size  # bytes

# Numba's settings, from the environment, that change the code it makes.
SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")


def sources_digest() -> str:
    """A digest of what compiled code depends on: the mirror's sources, `Window`, the versions of Numba and Python."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for path in [*sorted(Path(__file__).parent.rglob("*.py")), Path(shapes.__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def code_folder() -> Path:
    """Where compiled code is kept: if no folder can be written, in one that this process removes at its end."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    try:
        folder = (Path(named) if named else cache_folder() / "compiled") / sources_digest()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        say(not_kept(error))
        return temporary_folder()


def temporary_folder() -> Path:
    """A folder that is removed at the end of this process, though not at the end of one that it has forked."""
    top, owner = tempfile.mkdtemp(prefix="scratchnet-compiled-"), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(top, ignore_errors=True)

    atexit.register(remove)
    folder = Path(top, sources_digest())  # as below any other, so that other processes find it
    folder.mkdir()
    return folder


def not_kept(error: OSError) -> str:
    return (
        f"scratchnet: compiled code cannot be kept ({error}), so it will be compiled anew in the next process. Set "
        "NUMBA_CACHE_DIR to a folder that can be written"
    )


@functools.cache
def say_once(text: str) -> None:
    """Say something on stderr, but not for every kernel."""
    say(text)


@functools.cache
def file_digest(path: str) -> str:
    """A digest of the file that a function is written in."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class KernelCache(NullCache):
    """The compiled code of one function, in the place of Numba's own cache: see its `Dispatcher.compile`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function: Any = function

    @property
    def cache_path(self) -> str:
        """Where the files are: for Numba's messages."""
        return str(code_folder())

    def path_of(self, types: tuple[Any, ...], codegen: Any) -> Path:
        """The file for these types of arguments and this processor."""
        function = self.function
        depends_on = [
            function.__qualname__,
            file_digest(function.__code__.co_filename),
            [str(kind) for kind in types],
            codegen.magic_tuple(),  # the processor, as LLVM names it, and what it can do
            [getattr(config, name) for name in SETTINGS],
        ]
        name = hashlib.sha256(repr(depends_on).encode()).hexdigest()[:24]
        return code_folder() / f"{function.__name__}-{name}.code"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function; None if there is none yet, or if its file is damaged."""
        target_context.refresh()
        path = self.path_of(sig, target_context.codegen())
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
            say(f"scratchnet: {path} is damaged, so {self.function.__name__} is compiled again")
            return None
        return CompileResult._rebuild(target_context, *pickle.loads(content[DIGEST:]))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function. If that fails, the function can be used all the same."""
        if data.library.has_dynamic_globals:
            return  # addresses of this process are in it
        content = serialize.dumps(data._reduce())
        try:
            with written_atomically(self.path_of(sig, data.codegen)) as partial:
                partial.write_bytes(hashlib.sha256(content).digest() + content)
        except OSError as error:
            say_once(not_kept(error))


def keep_on_disk(dispatcher: Any) -> None:
    """Have Numba look for the code of a function on disk before it compiles it, and keep it there afterwards."""
    function = dispatcher.py_func
    if Path(function.__code__.co_filename).is_file():  # not so for one that was typed into Python's prompt
        dispatcher._cache = KernelCache(function)


def is_there(dispatcher: Any, types: tuple[Any, ...]) -> bool:
    """Whether a kernel is compiled for arguments of these types: in this process, or on disk."""
    if types in dispatcher.overloads:
        return True
    cache = dispatcher._cache
    return isinstance(cache, KernelCache) and cache.path_of(types, dispatcher.targetctx.codegen()).is_file()
