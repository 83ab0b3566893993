"""IDX files: read back what was written, and refuse everything that is not whole."""

import gzip
import hashlib
import struct
import tracemalloc

import numpy as np
import pytest

from layerpeel.networks.data.idx import Content, read_idx


def idx_bytes(array, kind=0x08):
    header = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def content_of(array):
    return Content(len(idx_bytes(array)), hashlib.sha256(idx_bytes(array)).hexdigest())


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 256, size=(7, 4, 3))


@pytest.fixture
def written(tmp_path, array):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx_bytes(array)))
    return path


def test_what_was_written_is_read_with_its_checksum(written, array):
    assert np.array_equal(read_idx(written, ndim=3, content=content_of(array)), array)
    assert np.array_equal(read_idx(written, ndim=3), array)


def test_a_file_compressed_anew_has_the_same_content(written, array):
    written.write_bytes(gzip.compress(idx_bytes(array), compresslevel=1, mtime=7))
    assert np.array_equal(read_idx(written, ndim=3, content=content_of(array)), array)


def test_a_plain_file_is_read_whatever_its_name_says(written, array):
    written.write_bytes(idx_bytes(array))
    assert np.array_equal(read_idx(written, ndim=3, content=content_of(array)), array)


def test_what_is_read_cannot_be_written_to(written):
    with pytest.raises(ValueError, match="read-only"):
        read_idx(written, ndim=3)[0, 0, 0] = 1


@pytest.mark.parametrize("kept", [0, 5, 30, -20, -1])
def test_a_file_cut_short_anywhere_is_refused(written, kept):
    written.write_bytes(written.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"need .*{written}"):
        read_idx(written, ndim=3)


def test_a_damaged_byte_is_refused(written):
    content = bytearray(written.read_bytes())
    content[len(content) // 2] ^= 0xFF
    written.write_bytes(content)
    with pytest.raises(ValueError, match=rf"need .*{written}"):
        read_idx(written, ndim=3)


WRONG = {
    "no gzip": (b"no gzip at all", "need an IDX file with magic 0x00000803, got .* with 0x6e6f2067"),
    "something behind": (gzip.compress(idx_bytes(np.zeros((2, 2, 2)))) + b"x", "need a gzip file, got"),
    "plain and cut short": (idx_bytes(np.zeros((2, 2, 2)))[:-1], r"need 24 bytes .*, got 23"),
    "empty": (gzip.compress(b""), r"need an IDX file with magic 0x00000803, got .* with 0x$"),
    "a header cut short": (gzip.compress(b"\0\0\x08\x03\0\0"), r"need an IDX file with magic 0x00000803"),
    "floats": (gzip.compress(idx_bytes(np.zeros((2, 2, 2)), kind=0x0D)), "need .* 0x00000803, got .* 0x00000d03"),
    "one axis": (gzip.compress(idx_bytes(np.zeros(5))), "need .* 0x00000803, got .* 0x00000801"),
    "a byte short": (
        gzip.compress(idx_bytes(np.zeros((2, 2, 2)))[:-1]),
        r"need 24 bytes in .* sizes \(2, 2, 2\), got 23",
    ),
    "a byte long": (gzip.compress(idx_bytes(np.zeros((2, 2, 2))) + b"x"), r"need 24 bytes .*, got 25 or more"),
    "huge sizes": (gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12), r"need \d{29} bytes .*, got 16"),
}


@pytest.mark.parametrize(("content", "sentence"), WRONG.values(), ids=WRONG)  # gzip's bytes hold the time: no ids
def test_what_is_not_such_a_file_is_said_in_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as error:
        read_idx(path, ndim=3)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_other_content_of_the_right_form_is_refused(written):
    with pytest.raises(ValueError, match=rf"need content with SHA-256 0{{64}} in {written}, got [0-9a-f]{{64}}"):
        read_idx(written, ndim=3, content=Content(16 + 84, "0" * 64))
    with pytest.raises(ValueError, match=rf"need content of 99 bytes in {written}, got 100 by its sizes \(7, 4, 3\)"):
        read_idx(written, ndim=3, content=Content(99, "0" * 64))


def test_no_more_is_decompressed_than_the_sizes_ask_for(tmp_path):
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(idx_bytes(np.zeros((2, 2, 2))) + bytes(30_000_000), 1))
    huge = tmp_path / "huge.gz"
    huge.write_bytes(gzip.compress(b"\0\0\x08\x03" + b"\0\0\x10\0" * 3 + bytes(30_000_000), 1))
    tracemalloc.start()
    with pytest.raises(ValueError, match="need 24 bytes in"):
        read_idx(bomb, ndim=3)
    with pytest.raises(ValueError, match="need content of 24 bytes in"):
        read_idx(huge, ndim=3, content=Content(24, ""))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000
