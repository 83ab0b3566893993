"""The arrays that come in, and the few operations that the array API does not name.

numpy arrays and torch tensors (on any device) stay what and where they are, and the passes over the samples
run in their own namespace. Everything else goes to numpy: also jax arrays, as jax has no float64
outside a scope that is its user's to open, and the sums here are float64.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import array_api_compat.numpy
import numpy as np
from array_api_compat import array_namespace, device, is_torch_array
from jaxtyping import Float, Int
from scipy.linalg.blas import dsyrk
from scipy.sparse import csc_array

__all__ = [
    "add_gram",
    "full_precision",
    "host",
    "is_real",
    "move",
    "namespace",
    "native",
    "product_dtype",
    "sum_rows",
    "symmetric",
]

SMALL = 2**18
"""Entries of a matrix whose products cost little beside the walk over the rows, whatever their dtype."""


def native(array: Any) -> Any:
    """``array`` as numpy or torch array without gradient, of a dtype numpy or torch can subtract."""
    if is_torch_array(array):
        return array.detach()
    array = np.asarray(array)
    if array.dtype.kind == "V" and array.dtype.names is None:  # bfloat16 and the float8s of ml_dtypes
        return array.astype(np.float32)
    return array.astype(np.float64) if array.dtype == np.longdouble else array


def is_real(array: Any) -> bool:
    """Whether a native array holds integers or real floats."""
    if isinstance(array, np.ndarray):
        return array.dtype.kind in "fiu"
    return bool(namespace(array).isdtype(array.dtype, ("real floating", "integral")))


def namespace(array: Any) -> Any:
    """The array-API namespace of a native array."""
    return array_api_compat.numpy if isinstance(array, np.ndarray) else array_namespace(array)


def host(array: Any) -> np.ndarray:
    """A native array as a numpy array: floats in float64, others as they are; a view where possible."""
    if is_torch_array(array):
        array = (array.double() if array.is_floating_point() else array).cpu().numpy()
    return np.asarray(array, dtype=np.float64 if array.dtype.kind == "f" else None)


def move(array: np.ndarray, like: Any, dtype: Any = None) -> Any:
    """A numpy array in the namespace and on the device of ``like``."""
    if isinstance(like, np.ndarray):
        return np.asarray(array, dtype=dtype)
    return namespace(like).asarray(array, dtype=dtype, device=device(like))


def product_dtype(array: Any, entries: int, *sizes: float) -> Any:
    """The dtype in which centred rows are multiplied with a matrix of so many ``entries``.

    Float64, except for large matrices and floats of at most 32 bits, which go in float32 at twice the speed: rounding
    is then relative to each row, so that deep collapse keeps six digits or more. Float64 also when a factor has a
    size that float32 cannot square.
    """
    xp = namespace(array)
    extreme = any(not 1e-15 < size < 1e15 for size in sizes)
    wide = entries <= SMALL or extreme or array.dtype.itemsize > 4 or xp.isdtype(array.dtype, "integral")
    return xp.float64 if wide else xp.float32


def full_precision(array: Any) -> AbstractContextManager[Any]:
    """The scope in which products of torch tensors keep their dtype, also inside the user's ``torch.autocast``."""
    if not is_torch_array(array):
        return nullcontext()
    return cast(AbstractContextManager[Any], namespace(array).autocast(array.device.type, enabled=False))


def sum_rows(rows: Float[Any, "B *d"], groups: Int[Any, "B"], number: int) -> Float[Any, "{number} *d"]:
    """Sum of the rows of each group by indexed adds: O(B d), where a one-hot product takes O(B d number)."""
    if is_torch_array(rows):
        return rows.new_zeros((number, *rows.shape[1:])).index_add_(0, groups, rows)
    if rows.ndim == 1:
        return np.bincount(groups, weights=rows, minlength=number).astype(np.float64, copy=False)  # int when empty
    size = len(rows)
    return csc_array((np.ones(size), groups, np.arange(size + 1)), shape=(number, size)) @ rows


def add_gram(matrix: Float[Any, "d d"], rows: Float[Any, "R d"]) -> None:
    """matrix += rows' rows, in float64; on the host in the lower triangle alone, at half the price.

    :func:`symmetric` gives the whole matrix.
    """
    if not rows.shape[0]:
        return
    if str(matrix.device) != "cpu":
        matrix += rows.T @ rows
        return
    held = np.asarray(matrix)
    summed = dsyrk(1.0, np.asarray(rows).T, beta=1.0, c=held.T, overwrite_c=1).T
    if not np.may_share_memory(held, summed):  # it works in place where held.T is in Fortran's order
        held[...] = summed


def symmetric(matrix: Float[Any, "d d"]) -> Float[Any, "d d"]:
    """A copy with the upper triangle as the lower one says."""
    xp = namespace(matrix)
    return xp.tril(matrix) + xp.tril(matrix, k=-1).T
