"""The progress line keeps to one line of the terminal, whatever its width: a real process on a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

pytestmark = pytest.mark.standard_library

SCRIPT = """
import sys
from jinabert_onnx.progress import Progress

with Progress(eval(sys.argv[1]), "texts", None, delay=0.0, done=3) as progress:
    for _ in range(20):
        progress._next_draw = 0.0
        progress.advance(61728)
"""
ERASE = "\x1b[K"


def shown(columns: int, total: int | None) -> str:
    """What the script writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-c", SCRIPT, repr(total)]
    with subprocess.Popen(command, stderr=theirs, stdin=subprocess.DEVNULL) as process:
        os.close(theirs)
        content = b""
        try:
            while piece := os.read(ours, 1 << 16):
                content += piece
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    assert process.returncode == 0
    return content.decode()


def screen(content: str, columns: int) -> list[str]:
    """The lines that a terminal shows for it; what is longer than a line goes on in the next."""
    lines, at = [""], 0
    for character in content.replace(ERASE, "\0"):
        if character == "\r":
            at = 0
        elif character == "\n":
            lines.append("")
        elif character == "\0":
            lines[-1] = lines[-1][:at]
        else:
            if at == columns:
                lines.append("")
                at = 0
            lines[-1] = lines[-1][:at] + character + lines[-1][at + 1 :]
            at += 1
    return lines


@pytest.mark.parametrize("total", [1234567, None])
@pytest.mark.parametrize("columns", [10, 20, 40, 60, 80, 200, 0])
def test_progress_stays_on_one_line_of_the_terminal(columns: int, total: int | None) -> None:
    content = shown(columns, total)
    assert content.count("\r") >= 20
    line, last = screen(content, columns or 80)
    assert last == ""
    assert len(line) < (columns or 80)
    assert "1234563 te"[: columns - 1] in line or "1234563/"[: max(0, columns - 1)] in line
    if total is not None and columns >= 60:
        assert line.startswith("[####")
        assert line.endswith(" left")
