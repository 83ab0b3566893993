"""What the README prints is what its code prints, but for the seconds."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n((?:(?!```).)*)```\n```text\n(.*?)```", README, re.DOTALL)


TRAINING = 3
EXACT = [example for i, example in enumerate(EXAMPLES) if i != TRAINING]


@pytest.mark.parametrize(
    ("code", "printed"), EXACT, ids=["theorist", "flow and certificates", "own loss", "systems of Table 1"]
)
def test_the_printed_output_is_the_output(code, printed):
    assert without_seconds(output(code)) == without_seconds(printed)


def test_the_training_prints_the_same_lines_and_much_the_same_numbers():
    """SGD is chaotic: another processor rounds to another run."""
    code, printed = EXAMPLES[TRAINING]
    got = output(code)
    assert re.sub(r"\d\.\d+", "x", got) == re.sub(r"\d\.\d+", "x", printed)
    np.testing.assert_allclose(numbers(got), numbers(printed), rtol=0.3)


def output(code):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    return out.getvalue()


def numbers(text):
    return [float(number) for number in re.findall(r"\d\.\d+", text)]


def without_seconds(text):
    return re.sub(r"\d+\.\d s:", "S s:", text)
