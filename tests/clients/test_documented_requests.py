"""Every curl command of the README and of the page on serving runs against a live server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.live_server import LiveServer
from support.paths import ROOT

DOCUMENTED = "http://127.0.0.1:8080"


def curl_commands(page: str) -> list[str]:
    """Return the commands of the page's one ```bash block, each with the lines that go on."""
    text = (ROOT / page).read_text("utf-8")
    (block,) = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    commands = re.split(r"\n(?=curl\b)", block.strip())
    assert len(commands) == len(re.findall(r"^\W*curl\b", text, re.MULTILINE)), "a curl outside of ```bash blocks"
    return commands


@pytest.mark.parametrize("page", ["README.md", "docs/deploy/serving.md"])
def test_curl_commands_run(page: str, both: LiveServer, tmp_path: Path):
    assert shutil.which("curl"), "curl is missing here; install it (apt-get install curl)"
    for command in curl_commands(page):
        assert command.startswith(f"curl -sf {DOCUMENTED}/"), "asks elsewhere, or hides an error from its exit code"
        script = command.replace(DOCUMENTED, both.url)
        run = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert run.returncode == 0, f"{command}\n{run.stdout}{run.stderr}"
        json.loads(run.stdout)
