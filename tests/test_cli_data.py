"""``layerpeel data fetch`` as a user meets it."""

import gzip
import hashlib
from unittest import mock

import numpy as np
import pytest
from mirror import Mirror, refuse, send
from shell import layerpeel

from layerpeel.networks.data import image_set as data
from layerpeel.networks.data.idx import Content


@pytest.fixture
def small():
    """A server with small files for FashionMNIST's, whose contents are known for the time being."""
    contents = {}
    with Mirror() as mirror:
        for name in data.FASHION_MNIST:
            shape = (4, 28, 28) if "images" in name else (4,)
            plain = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes() + bytes(int(np.prod(shape)))
            mirror.script[name] = [send(gzip.compress(plain))]
            contents[name] = Content(len(plain), hashlib.sha256(plain).hexdigest())
        with mock.patch.dict(data.FASHION_MNIST, contents):
            yield mirror


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("LAYERPEEL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "layerpeel" / "fashion-mnist"


def test_fetch_brings_the_set_to_where_it_is_found(small, cache):
    done = layerpeel("data", "fetch", "fashion-mnist", "--from", small.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"fashion-mnist: whole and verified in {cache}\n"
    assert "train-images-idx3-ubyte.gz, KiB" in done.stderr
    assert data.images().name == "fashion-mnist"


def test_fetch_elsewhere_says_how_to_use_it(small, cache, tmp_path):
    done = layerpeel("data", "fetch", "fashion-mnist", "--from", small.url, "--to", tmp_path / "my data")
    assert done.returncode == 0, done.stderr
    assert f"--data-dir '{tmp_path}/my data'" in done.stdout
    assert data.find_images("fashion-mnist", data_dir=tmp_path / "my data").num_classes == 10
    again = layerpeel("data", "fetch", "fashion-mnist", "--from", small.url, "--to", tmp_path / "my data")
    assert again.stdout == done.stdout
    assert again.stderr == ""
    assert len(small.asked) == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fetch", "cifar10"], "need an image set that can be fetched (fashion-mnist), got 'cifar10'"),
        (["fetch", "fashion-mnist", "--from", "file:///etc"], "need a URL with http:// or https:// and a host"),
        (["fetch"], "requires an argument"),
        (["fetch", "fashion-mnist", "--to", "FILE"], "File exists: "),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(arguments, sentence, cache, tmp_path):
    (tmp_path / "file").write_text("")
    done = layerpeel("data", *(str(tmp_path / "file") if word == "FILE" else word for word in arguments))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert sentence in done.stderr


def test_a_fetch_that_fails_is_one_sentence_with_a_way_out(small, cache):
    for name in data.FASHION_MNIST:
        small.script[name] = [refuse(404)]
    done = layerpeel("data", "fetch", "fashion-mnist", "--from", small.url)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert f"{small.url}/ (404 Not Found)" in done.stderr
    assert f"into {cache} by hand" in done.stderr


def test_ctrl_c_says_that_nothing_is_lost(small, cache):
    with mock.patch("layerpeel.networks.data.download.progress_bar", side_effect=KeyboardInterrupt):
        done = layerpeel("data", "fetch", "fashion-mnist", "--from", small.url)
    assert done.returncode == 130
    assert done.stderr == "layerpeel: interrupted; the same command goes on from there\n"


@pytest.mark.parametrize("words", [["data", "--help"], ["data", "fetch", "--help"]], ids=" ".join)
def test_help_is_there(words):
    done = layerpeel(*words)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: layerpeel data")
