"""The shell command without a shell: ``layerpeel("run", "ulpm-dynamics")``."""

import contextlib
import io
import subprocess
import sys
from unittest import mock

import pytest

from layerpeel.cli import main


def layerpeel(*arguments):
    """The command in this process: its exit code and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["layerpeel", *map(str, arguments)]),
        pytest.raises(SystemExit) as end,
    ):
        main()
    return subprocess.CompletedProcess(arguments, end.value.code or 0, out.getvalue(), err.getvalue())
