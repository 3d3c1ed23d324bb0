"""Every curl command of the README's section on serving runs against a live server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from support.paths import ROOT

README = ROOT / "README.md"
DOCUMENTED = "http://127.0.0.1:8080"


def curl_commands(readme: str) -> list[str]:
    """The commands that begin with curl, of the ```bash blocks under "## Serving", with the lines that go on."""
    section = re.search(r"^## Serving\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    assert section, 'README.md has no section "## Serving"'
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


def test_curl_commands_of_the_readme(server: str, tmp_path: Path):
    assert shutil.which("curl"), "curl is missing here; install it (apt-get install curl)"
    commands = curl_commands(README.read_text("utf-8"))
    assert commands, 'README.md, section "## Serving", has no ```bash block with a line that begins with curl'
    for command in commands:
        assert DOCUMENTED in command, f"asks for another address than {DOCUMENTED}: {command}"
        assert re.search(r"--fail\b|\s-[a-zA-Z]*f", command), f"would not tell an error by its exit code: {command}"
        script = command.replace(DOCUMENTED, server)
        run = subprocess.run(
            ["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60
        )
        assert run.returncode == 0, f"{command}\n{run.stdout}{run.stderr}"
        json.loads(run.stdout)
