"""Every curl command of the README and of the page on serving runs against a live server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.paths import ROOT

SECTIONS = {"README.md": "Serving", "docs/deploy/serving.md": "First requests"}  # a page, its heading
DOCUMENTED = "http://127.0.0.1:8080"


def curl_commands(page: str, heading: str) -> list[str]:
    """Return the commands that begin with curl, of the ```bash blocks below a heading, with the lines that go on."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section, f'no section "## {heading}"'
    commands = []
    for block in re.findall(r"^```bash\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL):
        lines = block.splitlines()
        while lines:
            command = lines.pop(0)
            while lines and not is_whole(command):
                command += "\n" + lines.pop(0)
            if command.startswith("curl"):
                commands.append(command)
    assert len(commands) == len(re.findall(r"^\W*curl\b", section[1], re.MULTILINE)), "a curl outside of ```bash blocks"
    return commands


def is_whole(command: str) -> bool:
    """Whether bash would not read another line: no open quote, no backslash at the end."""
    return (
        not command.endswith("\\")
        and subprocess.run(["bash", "-n", "-c", command], capture_output=True).returncode == 0
    )


@pytest.mark.parametrize(("page", "heading"), SECTIONS.items())
def test_curl_commands_run(page: str, heading: str, server: str, tmp_path: Path):
    assert shutil.which("curl"), "curl is missing here; install it (apt-get install curl)"
    commands = curl_commands((ROOT / page).read_text("utf-8"), heading)
    assert commands, f'{page}, section "## {heading}", has no ```bash block with a line that begins with curl'
    for command in commands:
        assert DOCUMENTED in command, f"asks for another address than {DOCUMENTED}: {command}"
        assert re.search(r"--fail\b|\s-[a-zA-Z]*f", command), f"would not tell an error by its exit code: {command}"
        script = command.replace(DOCUMENTED, server)
        run = subprocess.run(
            ["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60
        )
        assert run.returncode == 0, f"{command}\n{run.stdout}{run.stderr}"
        json.loads(run.stdout)
