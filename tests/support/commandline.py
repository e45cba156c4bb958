"""The commands as a user types them, called in this process: a process of its own costs a second of imports a call."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

from soundflow.cli import app as front_door
from tests.support import ROOT


def soundflow(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`cd FOLDER; soundflow ARGUMENTS`, called here: exit code and what was printed."""
    line, code = [str(argument) for argument in arguments], 0
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder or "."), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            front_door.main(line)
        except SystemExit as end:
            assert end.code is None or isinstance(end.code, int), end.code
            code = end.code or 0
    return subprocess.CompletedProcess(line, code, out.getvalue(), err.getvalue())


def soundflow_process(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, where what the shell sees is the point."""
    command = [sys.executable, "-m", "soundflow", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=300)
