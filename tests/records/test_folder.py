"""A folder is taken once, resumed by the same run only, and given back when nothing was computed."""

import sys
import tomllib

import pytest
import xarray

from layerpeel.records import Record, write_record
from layerpeel.records.folder import Tenant, claim, command, held_record, release

CONFIG = {"model": "mlp", "epochs": 3, "widths": [4, 8]}
GUEST = Tenant("record", "resume=True", same=("model",), alone=False)


def test_the_config_is_there_before_the_run_and_as_it_was_after_a_resume(tmp_path):
    claim(tmp_path / "a" / "run", CONFIG, resume=False)
    path = tmp_path / "a" / "run" / "config.toml"
    assert tomllib.loads(path.read_text()) == CONFIG
    claim(path.parent, CONFIG, resume=True)
    assert [found.name for found in path.parent.iterdir()] == ["config.toml"]
    assert tomllib.loads(path.read_text()) == CONFIG


def test_a_folder_in_use_is_taken_with_resume_only(tmp_path):
    claim(tmp_path, CONFIG, resume=False)
    with pytest.raises(
        ValueError, match=r"^need a new folder, or --resume to go on with the run in .*, got one in use$"
    ):
        claim(tmp_path, CONFIG, resume=False)
    with pytest.raises(ValueError, match=r"resume=True to go on with the record in .*, got one in use$"):
        claim(tmp_path, CONFIG, resume=False, tenant=GUEST)


def test_all_settings_must_agree_or_those_that_the_tenant_names(tmp_path):
    claim(tmp_path, CONFIG, resume=False)
    other = {"model": "mlp", "epochs": 4, "seed": 1}
    with pytest.raises(ValueError, match=r"\(epochs=3, seed=None, widths=\[4, 8\]\), got others$"):
        claim(tmp_path, other, resume=True)
    claim(tmp_path, other, resume=True, tenant=GUEST)
    with pytest.raises(ValueError, match=r"^need the run of the record in .* \(model='mlp'\), got another$"):
        claim(tmp_path, CONFIG | {"model": "vgg11"}, resume=True, tenant=GUEST)


@pytest.mark.parametrize("content", [b"model = ", b"\xff\xfe"], ids=["no-toml", "no-text"])
def test_a_damaged_config_is_not_resumed(content, tmp_path):
    (tmp_path / "config.toml").write_bytes(content)
    with pytest.raises(ValueError, match=r"^need a readable .*config.toml to resume, got a damaged file$"):
        claim(tmp_path, CONFIG, resume=True, tenant=GUEST)


@pytest.mark.parametrize("resume", [False, True])
def test_what_somebody_else_keeps_is_never_written_over(resume, tmp_path):
    (tmp_path / "events.log").write_text("theirs")
    with pytest.raises(ValueError, match=r"need a new or empty folder for the run, .* holds something else$"):
        claim(tmp_path, CONFIG, resume=resume)
    claim(tmp_path, CONFIG, resume=resume, tenant=GUEST)  # which needs only the names of a record
    (tmp_path / "config.toml").rename(tmp_path / "metrics.nc")
    with pytest.raises(ValueError, match=r"need a new or empty folder for the record, .* holds something else$"):
        claim(tmp_path, CONFIG, resume=resume, tenant=GUEST)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.log", "metrics.nc"]


def test_a_folder_is_given_back_only_while_it_holds_nothing_but_its_config(tmp_path):
    for name in ("made", "found", "used"):
        claim(tmp_path / name, CONFIG, resume=False)
    (tmp_path / "used" / "checkpoint.safetensors").write_text("work")
    release(tmp_path / "made", made=True)
    release(tmp_path / "found", made=False)
    release(tmp_path / "used", made=True)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == ["found", "used", "used/checkpoint.safetensors", "used/config.toml"]


def test_a_claimed_folder_holds_a_record_once_one_is_written(tmp_path):
    claim(tmp_path, CONFIG, resume=False)
    assert held_record(tmp_path) is None
    write_record(tmp_path, Record(CONFIG, {"text": "done"}, xarray.Dataset(), {}))
    held = held_record(tmp_path)
    assert held is not None
    assert held.summary == {"text": "done"}


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        ("/opt/env/bin/layerpeel", "layerpeel"),
        ("/opt/env/lib/layerpeel/__main__.py", "layerpeel"),
        ("mine/train.py", "mine/train.py"),
        ("mine/__main__.py", "mine/__main__.py"),
    ],
)
def test_the_command_is_what_to_type_again(program, shown, monkeypatch):
    monkeypatch.setattr(sys, "argv", [program, "run", "a file.toml"])
    assert command() == f"{shown} run 'a file.toml'"
