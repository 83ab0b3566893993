"""Numba's compiler as a typed decorator: reassociation allowed, no parallelism, no cache on disk."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

__all__ = ["compiled"]

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """``function`` compiled at its first call, for the types of that call."""
    return cast(Function, numba.njit(fastmath=True)(function))
