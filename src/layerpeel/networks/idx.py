"""IDX, the format of MNIST and its successors: a magic number, the sizes, then the entries, big-endian.

    0x00 0x00 | type (0x08: unsigned bytes) | number of dimensions r | r sizes of 4 bytes | the entries

Files are gzip-compressed, and compressed anew by every mirror, so checksums are of the UNCOMPRESSED bytes.

Invariant: what :func:`read_idx` returns is whole; a file cut short, too long or altered is a ValueError.
"""

import gzip
import hashlib
import os
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

__all__ = ["read_idx"]

UNSIGNED_BYTES = 0x08


def read_idx(path: str | os.PathLike[str], *, ndim: int, sha256: str | None = None) -> UInt8[np.ndarray, "*sizes"]:
    """Read a gzip-compressed IDX file of unsigned bytes with ``ndim`` dimensions (read-only array).

    Raises:
        ValueError: naming the file, what was needed and got, when it is not gzip, cut short, of another type
            or number of dimensions, longer or shorter than its sizes, or (given ``sha256``) of other content.
        OSError: as the operating system says it, when it cannot be opened.
    """
    path = Path(path)
    content = _decompress(path)
    start = 4 + 4 * ndim
    _check_magic(path, content, ndim)
    sizes = tuple(int(size) for size in np.frombuffer(content, ">u4", count=ndim, offset=4))
    needed = start + int(np.prod(sizes, dtype=object))
    if len(content) != needed:
        raise ValueError(f"need {needed} bytes in {path} for its sizes {sizes}, got {len(content)}")
    _check_content(path, content, sha256)
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)


def _decompress(path: Path) -> bytes:
    with path.open("rb") as stream:
        try:
            return gzip.GzipFile(fileobj=stream).read()
        except EOFError:
            raise ValueError(f"need a whole gzip file, got {path} cut short") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"need a gzip file, got {path} ({error})") from None


def _check_magic(path: Path, content: bytes, ndim: int) -> None:
    magic = bytes([0, 0, UNSIGNED_BYTES, ndim])
    if content[:4] != magic or len(content) < 4 + 4 * ndim:
        raise ValueError(f"need an IDX file with magic 0x{magic.hex()}, got {path} with 0x{content[:4].hex()}")


def _check_content(path: Path, content: bytes, sha256: str | None) -> None:
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise ValueError(f"need content with SHA-256 {sha256} in {path}, got {found}")
