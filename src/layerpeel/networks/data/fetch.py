"""Fetch the files of an image set: verified by content, resumed where it stopped, or not there at all.

Each file grows as NAME.part beside its target, and is renamed to NAME only once the SHA-256 of its UNCOMPRESSED
bytes is right, since every mirror compresses anew. The mirrors are asked in order, each again after a pause when it
broke off.

Invariant: at every moment, also after ``kill -9`` or on a full disk, a target holds what it held before or the
right content; a right one is never touched, a wrong one only ever replaced by a right one. What was received of a
file stays for the next try. However much a server sends, or a compressed file would swell to, no more is written
than the file can need, and no more decompressed than it should hold.
"""

import gzip
import hashlib
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from layerpeel.networks.data.download import DownloadError, check_url, discard, receive
from layerpeel.networks.data.idx import GZIP, Content, decompressed
from layerpeel.networks.data.image_set import FASHION_MNIST, search_path

__all__ = ["Patience", "Verdict", "fetch_files", "fetch_images", "judge"]

FASHION_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
)
FETCHABLE = {"fashion-mnist": (FASHION_MNIST, FASHION_MIRRORS)}
"""Image set -> its files, and the folders on the web that hold them."""

CHUNK = 1 << 20
PLAIN = b"\0\0"
"""The first bytes of an IDX file that is not compressed."""


class Verdict(Enum):
    """What is found in a file; the value is a phrase for the user."""

    RIGHT = "the right content"
    SHORT = "cut short"
    WRONG = "other content than it should have"


@dataclass(frozen=True)
class Patience:
    """How long a server may be silent, in seconds, and how long to wait before each further try of it."""

    timeout: float = 20.0
    pauses: Sequence[float] = (1.0, 2.0, 4.0, 8.0)


def fetch_images(
    name: str, *, to: str | os.PathLike[str] | None = None, source: str | None = None, shown: bool = False
) -> Path:
    """Fetch the image set ``name`` (fashion-mnist) into the folder ``to``, by default into the user's cache.

    ``source`` is the URL of a folder with the files, instead of the known mirrors; ``shown`` draws progress bars.
    The folder is returned; with the default one :func:`layerpeel.networks.images` finds the set from now on.

    Raises:
        ValueError: for another name, or a source that is no http or https URL.
        ConnectionError: when no mirror gave a right file, with what each did.
        OSError: as the operating system says it (no space, no permission).
    """
    if name not in FETCHABLE:
        raise ValueError(f"need an image set that can be fetched ({', '.join(FETCHABLE)}), got {name!r}")
    files, mirrors = FETCHABLE[name]
    folder = Path(to).expanduser() if to is not None else search_path()[-1] / name
    fetch_files(files, folder, mirrors=mirrors if source is None else (source,), shown=shown)
    return folder


def fetch_files(
    files: Mapping[str, Content],
    folder: Path,
    *,
    mirrors: Sequence[str],
    patience: Patience = Patience(),
    shown: bool = False,
) -> list[str]:
    """Fetch those of ``files`` (name -> content) that are not right in ``folder`` already; returns their names.

    Raises:
        ValueError: for a mirror that is no http or https URL.
        ConnectionError: when no mirror gave a right file, with what each did.
        OSError: as the operating system says it.
    """
    urls = [check_url(mirror).rstrip("/") for mirror in mirrors]
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        wanted = [name for name, content in files.items() if judge(folder / name, content) is not Verdict.RIGHT]
        for name in wanted:
            part = folder / f"{name}.part"
            failures = _get(name, files[name], part, urls, patience, shown)
            if failures:
                raise ConnectionError(_by_hand(name, failures, wanted, folder))
            _publish(part, folder / name)
    return wanted


def judge(path: Path, content: Content) -> Verdict:
    """Compare the file, plain or gzip-compressed, with what it should hold; a file that is not there is cut short."""
    digest, size, prefix = hashlib.sha256(), 0, b""
    try:
        with decompressed(path) as stream:
            while chunk := stream.read(CHUNK):
                prefix, size = prefix or chunk[:2], size + len(chunk)
                if size > content.size:
                    return Verdict.WRONG
                digest.update(chunk)
            whole = isinstance(stream, gzip.GzipFile)
    except (FileNotFoundError, EOFError):
        return Verdict.SHORT
    except (gzip.BadGzipFile, zlib.error):
        return Verdict.WRONG
    if size < content.size and not whole and any(start.startswith(prefix) for start in (GZIP, PLAIN)):
        return Verdict.SHORT
    return Verdict.RIGHT if digest.hexdigest() == content.sha256 else Verdict.WRONG


def _get(
    name: str, content: Content, part: Path, urls: Sequence[str], patience: Patience, shown: bool
) -> dict[str, str]:
    """Complete ``part`` from the first URL that can: URL -> what it did instead, empty on success."""
    failures: dict[str, str] = {}
    if judge(part, content) is Verdict.RIGHT:
        return failures
    for url in urls:
        try:
            _insist(f"{url}/{name}", content, part, patience, shown)
        except DownloadError as error:
            failures[url] = str(error)
        else:
            return {}
    return failures


def _insist(url: str, content: Content, part: Path, patience: Patience, shown: bool) -> None:
    """Ask until ``part`` is right; what the server said is not trusted, only what has arrived.

    Wrong content is thrown away and asked for once more, since what a resumed part began with may have been at fault.
    """
    words, wrong = "", False
    for pause in (0.0, *patience.pauses):
        time.sleep(pause)
        try:
            receive(url, part, limit=_most(content), timeout=patience.timeout, shown=shown)
            words = Verdict.SHORT.value
        except DownloadError as error:
            if error.final:
                raise
            words = str(error)
        verdict = judge(part, content)
        if verdict is Verdict.RIGHT:
            return
        if verdict is Verdict.WRONG:
            discard(part)
            words = verdict.value
            if wrong:
                break
            wrong = True
    raise DownloadError(words, final=True)


def _most(content: Content) -> int:
    """The largest compressed file of this content: what cannot be compressed grows by 5 bytes in 16 KiB at most."""
    return content.size + content.size // 1000 + 1024


def _publish(part: Path, target: Path) -> None:
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())
    os.replace(part, target)
    discard(part)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time write into ``folder``, where the system can; the end of a process frees it."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network folders have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _by_hand(name: str, failures: Mapping[str, str], wanted: Sequence[str], folder: Path) -> str:
    tried = ", ".join(f"{url}/ ({words})" for url, words in failures.items())
    files = ", ".join(wanted)
    return f"need {name} from a mirror, got {tried}; put {files} into {folder} by hand or name another source (--from)"
