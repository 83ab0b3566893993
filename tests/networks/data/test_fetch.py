"""Files are fetched whole and right or not at all, whatever the server, the disk or the user does meanwhile."""

import contextlib
import gzip
import hashlib
import json
import resource
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from mirror import SECONDS, Mirror, endless, redirect, refuse, send, silent

from layerpeel.networks import fetch_images
from layerpeel.networks.data import image_set as data
from layerpeel.networks.data.download import receive
from layerpeel.networks.data.fetch import Patience, Verdict, fetch_files, judge
from layerpeel.networks.data.idx import Content, read_idx

QUICK = Patience(timeout=60.0, pauses=(0.0, 0.0))
HASTY = Patience(timeout=2.0, pauses=(0.0, 0.0))
IMAGES, LABELS = "images.gz", "labels.gz"


def idx_bytes(entries):
    return bytes([0, 0, 8, entries.ndim]) + np.array(entries.shape, ">u4").tobytes() + entries.tobytes()


def content_of(plain):
    return Content(len(plain), hashlib.sha256(plain).hexdigest())


RNG = np.random.default_rng(0)
PLAIN = {
    IMAGES: idx_bytes(RNG.integers(0, 256, size=(300, 28, 28), dtype=np.uint8)),
    LABELS: idx_bytes(RNG.integers(0, 10, size=300, dtype=np.uint8)),
}
ZIPPED = {name: gzip.compress(plain, mtime=0) for name, plain in PLAIN.items()}
FILES = {name: content_of(plain) for name, plain in PLAIN.items()}
BODY = ZIPPED[IMAGES]
OTHER = gzip.compress(PLAIN[IMAGES][::-1], mtime=0)
HALF = len(BODY) // 2
ONE = {IMAGES: FILES[IMAGES]}


@pytest.fixture
def mirror():
    with Mirror() as mirror:
        for name, body in ZIPPED.items():
            mirror.script[name] = [send(body)]
        yield mirror


@pytest.fixture
def second():
    with Mirror() as mirror:
        mirror.script[IMAGES] = [send(BODY)]
        yield mirror


def fetch(folder, *mirrors, files=ONE, patience=QUICK, **options):
    return fetch_files(files, folder, mirrors=[mirror.url for mirror in mirrors], patience=patience, **options)


def failed(folder, *mirrors):
    """The sentence of a fetch that ends without its file."""
    with pytest.raises(ConnectionError) as error:
        fetch(folder, *mirrors)
    assert not (folder / IMAGES).exists()
    return str(error.value)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_are_fetched_whole_and_without_litter(mirror, tmp_path):
    folder = tmp_path / "new" / "folder"
    assert fetch(folder, mirror, files=FILES) == [IMAGES, LABELS]
    assert names(folder) == [IMAGES, LABELS]
    for name, ndim in ((IMAGES, 3), (LABELS, 1)):
        assert idx_bytes(read_idx(folder / name, ndim=ndim)) == PLAIN[name]


def test_files_that_are_right_are_not_asked_for_again(mirror, tmp_path):
    fetch(tmp_path, mirror, files=FILES)
    (tmp_path / LABELS).unlink()
    mirror.asked.clear()
    assert fetch(tmp_path, mirror, files=FILES) == [LABELS]
    assert [path for path, _ in mirror.asked] == [LABELS]
    assert fetch(tmp_path, files=FILES) == []


@pytest.mark.parametrize("served", [PLAIN[IMAGES], gzip.compress(PLAIN[IMAGES], 1)], ids=["decompressed", "anew"])
def test_what_counts_is_the_content_however_a_mirror_compresses_it(mirror, tmp_path, served):
    mirror.script[IMAGES] = [send(served)]
    fetch(tmp_path, mirror)
    assert (tmp_path / IMAGES).read_bytes() == served
    assert read_idx(tmp_path / IMAGES, ndim=3, content=FILES[IMAGES]).shape == (300, 28, 28)


@pytest.mark.parametrize("served", [BODY, PLAIN[IMAGES]], ids=["gzip", "plain"])
@pytest.mark.parametrize("at", [1, 20, HALF, -1])
def test_an_answer_cut_short_is_gone_on_with_where_it_stopped(mirror, tmp_path, served, at):
    at %= len(served)
    mirror.script[IMAGES] = [send(served, until=at), send(served)]
    fetch(tmp_path, mirror)
    assert (tmp_path / IMAGES).read_bytes() == served
    assert mirror.ranges() == [None, f"bytes={at}-"]


def test_a_server_that_falls_silent_is_left_and_asked_for_the_rest(mirror, tmp_path):
    mirror.script[IMAGES] = [silent, send(BODY, until=HALF, stall=True), send(BODY)]
    fetch(tmp_path, mirror, patience=HASTY)
    assert mirror.ranges() == [None, None, f"bytes={HALF}-"]


def test_a_server_that_is_slow_to_connect_is_asked_again_and_one_that_refuses_is_not(mirror, tmp_path):
    connect, errors = socket.create_connection, [TimeoutError("timed out"), TimeoutError("timed out")]

    def connecting(*arguments, **options):
        if errors:
            raise errors.pop()
        return connect(*arguments, **options)

    with mock.patch("socket.create_connection", connecting):
        assert fetch(tmp_path, mirror) == [IMAGES]
        assert errors == []
        (tmp_path / IMAGES).unlink()
        errors += [ConnectionRefusedError(111, "Connection refused")]
        assert "(Connection refused)" in failed(tmp_path, mirror)
    assert len(mirror.asked) == 1


def deaf_to(mirror):
    """The client waits 0.1 s for this server, and for others as long as they need."""

    def hasty(url, *arguments, timeout, **options):
        receive(url, *arguments, timeout=0.1 if url.startswith(f"{mirror.url}/") else timeout, **options)

    return mock.patch("layerpeel.networks.data.fetch.receive", hasty)


def test_a_server_that_stays_silent_is_passed_over(mirror, second, tmp_path):
    mirror.script[IMAGES] = [silent]
    with deaf_to(mirror):
        with pytest.raises(ConnectionError, match=r"/ \(timed out\); put"):
            fetch(tmp_path, mirror)
        assert mirror.await_requests(3) == 3
        fetch(tmp_path, mirror, second)
    assert names(tmp_path) == [IMAGES]
    assert (mirror.await_requests(6), len(second.asked)) == (6, 1)


def test_what_came_before_every_try_broke_off_stays_for_the_next_fetch(mirror, tmp_path):
    mirror.script[IMAGES] = [send(BODY, until=cut) for cut in (HALF, HALF + 10, HALF + 20)]
    assert "(cut short)" in failed(tmp_path, mirror)
    assert names(tmp_path) == [f"{IMAGES}.part", f"{IMAGES}.part.origin"]
    mirror.script[IMAGES] = [send(BODY)]
    fetch(tmp_path, mirror)
    assert mirror.ranges() == [None, f"bytes={HALF}-", f"bytes={HALF + 10}-", f"bytes={HALF + 20}-"]
    assert names(tmp_path) == [IMAGES]


def test_a_server_that_knows_no_ranges_sends_the_whole_anew(mirror, tmp_path):
    mirror.script[IMAGES] = [send(BODY, until=HALF), send(BODY, ranges=False)]
    fetch(tmp_path, mirror)
    assert (tmp_path / IMAGES).read_bytes() == BODY


@pytest.mark.parametrize(
    ("named", "version", "next_version", "condition"),
    [
        ("ETag", '"1"', '"2"', '"1"'),
        ("Last-Modified", "Tue, 29 Aug 2017 08:00:00 GMT", "Wed, 30 Aug 2017 08:00:00 GMT", "Tue, 29 Aug 2017"),
    ],
)
def test_a_file_changed_on_the_server_starts_anew(mirror, tmp_path, named, version, next_version, condition):
    mirror.script[IMAGES] = [send(OTHER, until=HALF, version=version, named=named), send(BODY, version=next_version)]
    fetch(tmp_path, mirror)
    assert mirror.asked[1][1]["If-Range"].startswith(condition)
    assert len(mirror.asked) == 2


def test_without_a_version_a_mixture_is_seen_by_its_content_and_fetched_anew(mirror, tmp_path):
    for version in (None, 'W/"weak"'):
        mirror.script[IMAGES] = [send(OTHER, until=HALF, version=version), send(BODY, version=None)]
        mirror.asked.clear()
        fetch(tmp_path, mirror)
        assert mirror.ranges() == [None, f"bytes={HALF}-", None]
        assert [headers["If-Range"] for _, headers in mirror.asked] == [None] * 3
        (tmp_path / IMAGES).unlink()


@pytest.mark.parametrize(
    "answer",
    [
        refuse(416),
        lambda handler: handler.answer(206, BODY, Content_Range=f"bytes 0-{len(BODY) - 1}/{len(BODY)}"),
        lambda handler: handler.answer(206, BODY),
    ],
    ids=["416", "other part", "unnamed part"],
)
def test_another_part_than_the_one_asked_for_is_not_appended(mirror, tmp_path, answer):
    mirror.script[IMAGES] = [send(BODY, until=HALF), answer, send(BODY)]
    fetch(tmp_path, mirror)
    assert mirror.ranges() == [None, f"bytes={HALF}-", None]


def test_a_part_of_one_mirror_is_never_gone_on_with_at_another(mirror, second, tmp_path):
    mirror.script[IMAGES] = [send(OTHER, until=HALF), refuse(404)]
    fetch(tmp_path, mirror, second)
    assert second.ranges() == [None]


@pytest.mark.parametrize("origin", [b"", b"{", b"[1]", b"{}", b'{"url": 3, "validator": 4}'])
def test_a_part_whose_origin_is_unknown_starts_anew(mirror, tmp_path, origin):
    (tmp_path / f"{IMAGES}.part").write_bytes(BODY[:HALF])
    (tmp_path / f"{IMAGES}.part.origin").write_bytes(origin)
    fetch(tmp_path, mirror)
    assert mirror.ranges() == [None]


def test_a_part_that_was_complete_when_its_process_died_needs_no_server(tmp_path):
    (tmp_path / f"{IMAGES}.part").write_bytes(BODY)
    fetch(tmp_path)
    assert names(tmp_path) == [IMAGES]


SCRIPTS = {
    "not there": ([refuse(404)], "404 Not Found", 1),
    "broken": ([refuse(500)], "500 Internal Server Error", 3),
    "busy": ([refuse(429)], "429 Too Many Requests", 3),
    "speaking another language": ([lambda h: h.wfile.write(b"\x1b[2J hello\r\n")], "?[2J hello", 3),
    "of a status unknown to all": ([refuse(799)], "799 unknown status", 3),
    "cut short": ([send(BODY, until=9)], "cut short", 3),
    "of other content": ([send(OTHER)], "other content than it should have", 2),
    "a page of a hotel": ([send(b"<html>Welcome</html>")], "other content than it should have", 2),
    "damaged": ([send(BODY[:HALF] + b"????" + BODY[HALF + 4 :])], "other content than it should have", 2),
    "with something behind": ([send(BODY + b"and more")], "other content than it should have", 2),
    "a gzip bomb": ([send(gzip.compress(bytes(20_000_000)))], "other content than it should have", 2),
    "promised too long": ([send(bytes(10**6))], "1,000,000 bytes offered where 236,475 are too many", 1),
    "without an end": ([endless(200)], "more than 236,475 bytes sent", 1),
    "redirected in a circle": ([redirect(IMAGES)], "more than 5 redirects", 6),
    "redirected to a file": ([redirect("file:///etc/passwd")], "need a URL with http:// or https://", 1),
    "redirected to ftp": ([redirect("ftp://127.0.0.1/images")], "need a URL with http:// or https://", 1),
    "redirected to nonsense": ([redirect("http://[")], "redirected to 'http://[', which is no URL", 1),
    "redirected to spaces": ([redirect("http://127.0.0.1/a b")], "URL can't contain control characters", 1),
}


@pytest.mark.parametrize(("script", "words", "asked"), SCRIPTS.values(), ids=SCRIPTS)
def test_a_server_without_the_right_file_is_passed_over_for_the_next(mirror, second, tmp_path, script, words, asked):
    mirror.script[IMAGES] = script
    (tmp_path / IMAGES).write_bytes(b"corrupt")
    fetch(tmp_path, mirror, second)
    assert (tmp_path / IMAGES).read_bytes() == BODY
    assert names(tmp_path) == [IMAGES]
    assert len(mirror.asked) == asked
    assert len(second.asked) == 1


@pytest.mark.parametrize(("script", "words", "asked"), SCRIPTS.values(), ids=SCRIPTS)
def test_when_no_mirror_is_left_one_sentence_says_what_each_did(mirror, tmp_path, script, words, asked):
    mirror.script[IMAGES] = script
    sentence = failed(tmp_path, mirror)
    assert f"need {IMAGES} from a mirror, got {mirror.url}/ (" in sentence
    assert words in sentence
    assert f"put {IMAGES} into {tmp_path} by hand" in sentence
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 236_475 + 200


def test_without_a_network_every_mirror_is_named_and_asked_once(tmp_path):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(2)]
        for closed in held:
            closed.bind(("127.0.0.1", 0))  # without listening: nobody answers there, and nobody else can take it
        ports = [closed.getsockname()[1] for closed in held]
        with pytest.raises(ConnectionError) as error:
            fetch_files(FILES, tmp_path, mirrors=[f"http://127.0.0.1:{port}/folder/" for port in ports])
    tried = ", ".join(f"http://127.0.0.1:{port}/folder/ (Connection refused)" for port in ports)
    assert str(error.value) == (
        f"need {IMAGES} from a mirror, got {tried}; put {IMAGES}, {LABELS} into {tmp_path} by hand "
        "or name another source (--from)"
    )


def test_a_corrupt_file_is_replaced_by_a_right_one_only(mirror, tmp_path):
    (tmp_path / IMAGES).write_bytes(BODY[:-1])
    mirror.script[IMAGES] = [send(OTHER), send(OTHER), send(BODY)]
    with pytest.raises(ConnectionError):
        fetch(tmp_path, mirror)
    assert (tmp_path / IMAGES).read_bytes() == BODY[:-1]
    fetch(tmp_path, mirror)
    assert (tmp_path / IMAGES).read_bytes() == BODY


def test_redirects_are_followed_with_the_range_and_their_bodies_never_read(mirror, second, tmp_path):
    def moved(handler):
        endless(302, Location=f"{second.url}/{IMAGES}")(handler)

    mirror.script[IMAGES] = [moved]
    second.script[IMAGES] = [send(BODY, until=HALF), send(BODY)]
    fetch(tmp_path, mirror)
    assert second.ranges() == [None, f"bytes={HALF}-"]


def test_a_gzip_bomb_is_judged_in_little_memory(tmp_path):
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(bytes(30_000_000), 1))
    tracemalloc.start()
    verdicts = [judge(bomb, Content(size, "")) for size in (1_000_000, 29_999_999)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert verdicts == [Verdict.WRONG, Verdict.WRONG]
    assert peak < 6_000_000
    bomb.write_bytes(bomb.read_bytes()[:-100])
    assert judge(bomb, Content(1_000_000, "")) is Verdict.WRONG  # its end was never looked at
    assert judge(bomb, Content(30_000_000, "")) is Verdict.SHORT


def test_proxies_of_the_environment_are_not_asked_for_this_machine(mirror, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    fetch(tmp_path, mirror)
    assert names(tmp_path) == [IMAGES]


@contextlib.contextmanager
def small_disk(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_with_the_file_and_loses_nothing(mirror, second, tmp_path):
    with small_disk(100_000), pytest.raises(OSError, match="File too large") as error:
        fetch(tmp_path, mirror, second)
    assert error.value.filename == str(tmp_path / f"{IMAGES}.part")
    assert second.asked == []
    fetch(tmp_path, mirror)
    assert mirror.ranges() == [None, "bytes=100000-"]


@contextlib.contextmanager
def pressing(total, unit, *, shown):
    def show(done):
        if 1024 * done >= HALF:
            raise KeyboardInterrupt

    yield show


def test_ctrl_c_loses_nothing(mirror, tmp_path):
    with mock.patch("layerpeel.networks.data.download.progress_bar", pressing), pytest.raises(KeyboardInterrupt):
        fetch(tmp_path, mirror)
    size = (tmp_path / f"{IMAGES}.part").stat().st_size
    assert HALF - 1024 <= size < len(BODY)
    fetch(tmp_path, mirror)
    assert mirror.ranges() == [None, f"bytes={size}-"]


KILLED = """
import sys
from pathlib import Path
from layerpeel.networks.data.fetch import fetch_files
from layerpeel.networks.data.idx import Content
fetch_files({sys.argv[1]: Content(int(sys.argv[2]), sys.argv[3])}, Path(sys.argv[4]), mirrors=[sys.argv[5]])
"""


def test_a_kill_loses_nothing(mirror, tmp_path):
    sent = threading.Event()

    def half(handler):
        handler.answer(200, BODY[:HALF], Content_Length=len(BODY), ETag='"1"')
        sent.set()
        mirror.over.wait(SECONDS)

    mirror.script[IMAGES] = [half, send(BODY)]
    content, part = FILES[IMAGES], tmp_path / f"{IMAGES}.part"
    arguments = [IMAGES, str(content.size), content.sha256, str(tmp_path), mirror.url]
    with subprocess.Popen([sys.executable, "-c", KILLED, *arguments]) as process:
        try:
            assert sent.wait(SECONDS)
            until = time.monotonic() + SECONDS
            while not part.exists() or not part.stat().st_size:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.01)
        finally:
            process.kill()
    assert names(tmp_path) == [f"{IMAGES}.part", f"{IMAGES}.part.origin"]
    size = part.stat().st_size
    fetch(tmp_path, mirror)
    assert mirror.ranges() == [None, f"bytes={size}-"]


def test_two_fetches_into_one_folder_share_the_work(mirror, tmp_path):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(fetch(tmp_path, mirror, files=FILES)), daemon=True)
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * SECONDS)
        assert not thread.is_alive()
    assert sorted(map(len, results)) == [0, 2]
    assert len(mirror.asked) == 2


@pytest.mark.parametrize("url", ["file:///etc", "ftp://host/", "http://", "host/folder", "http://[", "http://h:99999"])
def test_a_source_that_is_no_web_address_is_refused_before_anything_is_written(tmp_path, url):
    with pytest.raises(ValueError, match=r"^need a URL with http:// or https:// and a host, got "):
        fetch_files(FILES, tmp_path / "new", mirrors=[url])
    assert names(tmp_path) == []


def test_only_image_sets_with_known_content_are_fetched():
    with pytest.raises(ValueError, match=r"^need an image set that can be fetched \(fashion-mnist\), got 'digits'$"):
        fetch_images("digits")


def test_a_fetched_image_set_is_found_from_then_on(mirror, tmp_path, monkeypatch):
    monkeypatch.delenv("LAYERPEEL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plain = dict(zip(data.FASHION_MNIST, 2 * list(PLAIN.values()), strict=True))
    for name, content in plain.items():
        mirror.script[f"folder/{name}"] = [send(gzip.compress(content))]
    with mock.patch.dict(data.FASHION_MNIST, {name: content_of(content) for name, content in plain.items()}):
        with pytest.raises(FileNotFoundError, match="`layerpeel data fetch fashion-mnist`"):
            data.find_images("fashion-mnist")
        folder = fetch_images("fashion-mnist", source=f"{mirror.url}/folder")
        assert folder == tmp_path / "layerpeel" / "fashion-mnist"
        found = data.images()
    assert found.name == "fashion-mnist"
    assert idx_bytes(found.train_images) == PLAIN[IMAGES]


def test_the_bar_counts_the_kibibytes_on_stderr_from_where_the_part_stopped(mirror, tmp_path, capsys):
    mirror.script[IMAGES] = [send(BODY, until=HALF), send(BODY)]
    fetch(tmp_path, mirror, shown=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{IMAGES}, KiB" in captured.err
    assert f"{-(-len(BODY) // 1024)}/{-(-len(BODY) // 1024)}" in captured.err


def test_a_part_says_where_it_is_from(mirror, tmp_path):
    mirror.script[IMAGES] = [send(BODY, until=HALF)]
    failed(tmp_path, mirror)
    origin = json.loads((tmp_path / f"{IMAGES}.part.origin").read_text())
    assert origin == {"url": f"{mirror.url}/{IMAGES}", "validator": '"1"'}
