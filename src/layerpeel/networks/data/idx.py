"""IDX, the format of MNIST and its successors: a magic number, the sizes, then the entries, big-endian.

    0x00 0x00 | type (0x08: unsigned bytes) | number of dimensions r | r sizes of 4 bytes | the entries

Files are plain or gzip-compressed, which their first two bytes tell, whatever their names say. Every mirror
compresses them anew, so checksums are of the UNCOMPRESSED bytes.

Invariant: what :func:`read_idx` returns is whole; a file cut short, too long or altered is a ValueError. No more
bytes are decompressed than the sizes in the header ask for, and none if those are not the size expected.
"""

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

__all__ = ["Content", "decompressed", "read_idx"]

UNSIGNED_BYTES = 0x08
GZIP = b"\x1f\x8b"
CHUNK = 1 << 20


@dataclass(frozen=True)
class Content:
    """What a file holds once it is decompressed: its size in bytes, and their SHA-256 in hexadecimal digits."""

    size: int
    sha256: str


def read_idx(path: str | os.PathLike[str], *, ndim: int, content: Content | None = None) -> UInt8[np.ndarray, "*sizes"]:
    """Read an IDX file of unsigned bytes with ``ndim`` dimensions, plain or gzip-compressed (read-only array).

    Raises:
        ValueError: naming the file, what was needed and got, when it is cut short, of another type or number of
            dimensions, longer or shorter than its sizes, or not the ``content`` given.
        OSError: as the operating system says it, when it cannot be opened.
    """
    path, found, start = Path(path), bytearray(), 4 + 4 * ndim
    with _damage_named(path), decompressed(path) as stream:
        _extend(found, stream, start)
        sizes = _sizes(path, found, ndim)
        needed = start + int(np.prod(sizes, dtype=object))
        if content is not None and needed != content.size:
            raise ValueError(f"need content of {content.size} bytes in {path}, got {needed} by its sizes {sizes}")
        _extend(found, stream, needed + 1)  # one more, to see that it ends there
    if len(found) != needed:
        more = " or more" if len(found) > needed else ""
        raise ValueError(f"need {needed} bytes in {path} for its sizes {sizes}, got {len(found)}{more}")
    if content is not None:
        _check_content(path, found, content)
    entries = np.frombuffer(found, np.uint8, offset=start).reshape(sizes)
    entries.flags.writeable = False
    return entries


@contextmanager
def decompressed(path: Path) -> Iterator[io.BufferedIOBase]:
    """The bytes of the file, decompressed if it begins as gzip does; its end is where gzip's own check is made."""
    with path.open("rb") as stream:
        if stream.peek(2)[:2] != GZIP:
            yield stream
            return
        with gzip.GzipFile(fileobj=stream) as unzipped:
            yield unzipped


def _extend(found: bytearray, stream: io.BufferedIOBase, end: int) -> None:
    """Read on until ``found`` has ``end`` bytes or the stream has no more."""
    while chunk := stream.read(min(CHUNK, end - len(found))):
        found += chunk


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except EOFError:
        raise ValueError(f"need a whole gzip file, got {path} cut short") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"need a gzip file, got {path} ({error})") from None


def _sizes(path: Path, found: bytearray, ndim: int) -> tuple[int, ...]:
    magic = bytes([0, 0, UNSIGNED_BYTES, ndim])
    if found[:4] != magic or len(found) < 4 + 4 * ndim:
        raise ValueError(f"need an IDX file with magic 0x{magic.hex()}, got {path} with 0x{found[:4].hex()}")
    return tuple(int(size) for size in np.frombuffer(found, ">u4", count=ndim, offset=4).copy())


def _check_content(path: Path, found: bytearray, content: Content) -> None:
    sha256 = hashlib.sha256(found).hexdigest()
    if sha256 != content.sha256:
        raise ValueError(f"need content with SHA-256 {content.sha256} in {path}, got {sha256}")
