"""How Numba compiles the mirror's functions: each kernel is optimised and translated into machine code once.

Numba makes a complete library of each function that it compiles. Of a function that is inlined into kernels, nobody
ever calls that library: each kernel optimises and translates the function's code once more, as a part of its own. And
of a kernel Numba makes four libraries: of the loop that the threads share, of two functions around it, and of the
whole, which contains the other three. Here only the whole is made. All else is `Ingredients`.

This saves half of the time. The code of a kernel hardly changes: it is optimised as a whole in either case.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder

# How Numba names the parts of a kernel.
PARTS = ("__numba_parfor_gufunc", "_GufuncWrapper object", "parallelgufuncwrapper")


class Ingredients(JITCodeLibrary):
    """Functions that are there to be linked into other libraries: nothing is optimised or translated."""

    def _optimize_final_module(self) -> None:
        """Nothing; see above."""

    def _finalize_final_module(self) -> None:
        """Be ready to be linked into others, without machine code."""
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """0, which means that no function of this library can be called."""
        return 0

    @property
    def codegen(self) -> Any:
        """For `set_env`: what has no address has no environment."""
        return self

    def set_env(self, name: str, env: Any) -> None:
        """Nothing; see `codegen`."""


class InlinedCompiler(CompilerBase):
    """Numba's compiler, for functions that are inlined into others."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own passes, with another library to put the function in."""
        state = self.state
        state.library = Ingredients(state.targetctx.codegen(), state.func_id.func_qualname)
        return [DefaultPassBuilder.define_nopython_pipeline(state)]


class KernelCompiler(CompilerBase):
    """Numba's compiler, for kernels."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own passes."""
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]

    def _compile_core(self) -> Any:
        with parts_as_ingredients(self.state.targetctx.codegen()):
            compiled = super()._compile_core()
        for env in compiled._find_referenced_environments():  # the whole has addresses for those of its parts
            compiled.library.codegen.set_env(env.env_name, env)
        return compiled


@contextmanager
def parts_as_ingredients(codegen: Any) -> Iterator[None]:
    """Inside the `with` block, which one thread at a time can enter, make `Ingredients` of a kernel's parts."""
    create = codegen.create_library

    def create_library(name: str, **options: Any) -> Any:
        is_part = any(part in name for part in PARTS)
        return Ingredients(codegen, name) if is_part else create(name, **options)

    codegen.create_library = create_library
    try:
        yield
    finally:
        del codegen.create_library  # what shadowed the method
