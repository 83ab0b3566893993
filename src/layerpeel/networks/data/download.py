"""One download over HTTP into a file that grows: resumed where it stopped, bounded in bytes and in silence.

``part`` is the file that grows; ``part.origin`` beside it says of which URL its bytes are, and of which version
(ETag or Last-Modified). The next request asks for the rest (Range) of that version (If-Range); a server that knows
no ranges, or has another version by now, sends the whole, and the part starts anew.

Invariant: a part never grows beyond ``limit`` bytes, and whatever ends a download, the server, the disk or Ctrl-C,
what was received by then stays for the next one. Only http and https are spoken, after redirects too; the proxies
of the environment are used, but for addresses of this machine.

Not guaranteed: that the content is right, which :mod:`layerpeel.networks.data.fetch` judges; nor that a download ends
soon, since a server that sends one byte before every timeout is waited for until ``limit``.
"""

import ipaddress
import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import NoReturn
from urllib.error import URLError
from urllib.parse import urljoin, urlsplit

from layerpeel.files import write_atomic
from layerpeel.progress import progress_bar

__all__ = ["DownloadError", "check_url", "discard", "receive"]

CHUNK = 1 << 16
REDIRECTS = 5
REDIRECTING = {301, 302, 303, 307, 308}
PASSING = {408, 425, 429}
"""Refusals that ask for another try later, as those from 500 on do."""


class DownloadError(Exception):
    """A download that ended without its file, in a few words; ``final``: asking this server again is no use."""

    def __init__(self, words: str, *, final: bool) -> None:
        super().__init__(words)
        self.final = final


@dataclass(frozen=True)
class _Origin:
    """Where a part is from; an empty validator when the server names no version."""

    url: str
    validator: str


def receive(url: str, part: Path, *, limit: int, timeout: float, shown: bool = False) -> None:
    """Ask once for what ``part`` lacks of ``url`` and append it; an answer that ends too early is no error here.

    ``timeout`` is the longest silence, in seconds; ``shown`` draws a progress bar.

    Raises:
        DownloadError: what the server or the network did; the part keeps what came before.
        OSError: as the operating system says it, when the part cannot be written; it keeps what came before.
    """
    origin = _read_origin(part)
    start = part.stat().st_size if part.exists() and origin.url == url else 0
    with _request(url, _range(start, origin.validator), timeout) as response:
        if response.status == HTTPStatus.OK:
            start = 0
        elif not (response.status == HTTPStatus.PARTIAL_CONTENT and start and _begins_at(response, start)):
            _refused(response, part)
        total = None if response.length is None else start + response.length
        if total is not None and total > limit:
            raise DownloadError(f"{total:,} bytes offered where {limit:,} are too many", final=True)
        if start == 0:
            discard(part)
            _write_origin(part, _Origin(url, _validator(response)))
        with progress_bar(_kib(total or 0), f"{part.stem}, KiB", shown=shown and total is not None) as show:
            _append(response, part, start, limit, lambda done: show(_kib(done)))


def discard(part: Path) -> None:
    """Forget what was received."""
    part.unlink(missing_ok=True)
    _origin_file(part).unlink(missing_ok=True)


def check_url(url: str) -> str:
    """``url`` itself.

    Raises:
        ValueError: unless it is http or https, with a host.
    """
    if not _is_web(url):
        raise ValueError(f"need a URL with http:// or https:// and a host, got {url!r}")
    return url


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _kib(size: int) -> int:
    return -(-size // 1024)


def _append(response: HTTPResponse, part: Path, start: int, limit: int, show: Callable[[int], object]) -> None:
    """Write the answer's body to the end of the part."""
    done = start
    try:
        with part.open("ab") as stream:
            for chunk in _chunks(response):
                done += len(chunk)
                if done > limit:
                    break
                stream.write(chunk)
                show(done)
    except OSError as error:  # of the disk, which does not say which file it had no room for
        raise OSError(error.errno, error.strerror, str(part)) from error
    if done > limit:
        discard(part)
        raise DownloadError(f"more than {limit:,} bytes sent", final=True)


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read1(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise DownloadError(_words(error), final=False) from error


def _request(url: str, headers: Mapping[str, str], timeout: float) -> HTTPResponse:
    """The answer to a GET, whatever its status; a redirect is followed here, its body never read."""
    for _ in range(1 + REDIRECTS):
        response = _open(url, headers, timeout)
        location = response.getheader("Location")
        if response.status not in REDIRECTING or location is None:
            return response
        response.close()
        url = _joined(url, location)
    raise DownloadError(f"more than {REDIRECTS} redirects", final=True)


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise DownloadError(f"redirected to {location!r}, which is no URL", final=True) from error


def _open(url: str, headers: Mapping[str, str], timeout: float) -> HTTPResponse:
    try:
        request = urllib.request.Request(check_url(url), headers={"User-Agent": "layerpeel", **headers})
        return _opener(request.host).open(request, timeout=timeout)
    except URLError as error:  # no connection at all
        raise DownloadError(_words(error), final=not isinstance(error.reason, TimeoutError)) from error
    except (ValueError, InvalidURL) as error:
        raise DownloadError(str(error), final=True) from error
    except (OSError, HTTPException) as error:
        raise DownloadError(_words(error), final=False) from error


def _opener(host: str) -> urllib.request.OpenerDirector:
    """Without the handlers that read files, speak ftp, or read the whole body of a redirect."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler({} if _is_loopback(host) else None),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _is_loopback(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _range(start: int, validator: str) -> dict[str, str]:
    if not start:
        return {}
    return {"Range": f"bytes={start}-"} | ({"If-Range": validator} if validator else {})


def _begins_at(response: HTTPResponse, start: int) -> bool:
    return (response.getheader("Content-Range") or "").strip().startswith(f"bytes {start}-")


def _refused(response: HTTPResponse, part: Path) -> NoReturn:
    """Every answer but the whole and the rest that was asked for."""
    status = response.status
    if status in (HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        discard(part)  # it is of no use to this server, which then sends the whole
        raise DownloadError("another part than the one asked for", final=False)
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "unknown status"
    raise DownloadError(f"{status} {phrase}", final=status < 500 and status not in PASSING)


def _validator(response: HTTPResponse) -> str:
    """What names this version of the file: a strong ETag, since a weak one may not go with If-Range, or the date."""
    etag = response.getheader("ETag") or ""
    validator = etag if etag.startswith('"') else response.getheader("Last-Modified") or ""
    return validator if validator.isprintable() else ""


def _origin_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.origin")


def _read_origin(part: Path) -> _Origin:
    """No origin, or a damaged one, is that of no URL, so that the part starts anew."""
    try:
        origin = json.loads(_origin_file(part).read_bytes())
        return _Origin(str(origin["url"]), str(origin["validator"]))
    except (FileNotFoundError, ValueError, TypeError, LookupError):
        return _Origin("", "")


def _write_origin(part: Path, origin: _Origin) -> None:
    write_atomic(_origin_file(part), json.dumps(vars(origin)).encode())


def _words(error: Exception) -> str:
    """What happened, without the control characters that a server may have put into it."""
    reason = error.reason if isinstance(error, URLError) else error
    words = str(getattr(reason, "strerror", None) or reason) or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in words)
