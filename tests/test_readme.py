"""What the README prints is what its code prints, but for the seconds."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```\n```text\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("code", "printed"), EXAMPLES, ids=["theorist", "own loss"])
def test_the_printed_output_is_the_output(code, printed):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    assert without_seconds(out.getvalue()) == without_seconds(printed)


def without_seconds(text):
    return re.sub(r"\d+\.\d s:", "S s:", text)
