"""`jinabert-onnx serve` as a command: what it refuses before it listens, and where it listens."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from conftest import Start, launch


def refusal(*options: str, environment: dict[str, str] | None = None) -> str:
    """The one line of a command that must fail."""
    command = [sys.executable, "-m", "jinabert_onnx", "serve", *options]
    found = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | (environment or {}), check=False
    )
    assert found.returncode in (1, 2), found.stderr
    assert "Traceback" not in found.stderr
    return found.stderr.splitlines()[-1]


def test_a_model_is_needed() -> None:
    assert "set JINABERT_ONNX_MODEL" in refusal()


BAD_OPTIONS = {
    "port": (["--port", "99999"], "port is 99999"),
    "port of letters": (["--port", "http"], "port 'http' is not a number"),
    "timeout": (["--timeout", "0"], "timeout is 0"),
    "timeout not a number": (["--timeout", "nan"], "timeout is nan"),
    "drain": (["--drain", "-1"], "drain is -1"),
    "body": (["--max-body", "lots"], "'lots' is not a size"),
    "inputs": (["--max-inputs", "0"], "max_inputs is 0"),
    "length": (["--max-length", "100000"], "max_seq_length is 100000"),
    "key file": (["--api-key-file", "/nowhere/keys"], "/nowhere/keys: No such file"),
    "host": (["--host", "203.0.113.1"], "cannot listen on 203.0.113.1"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options_are_one_line(trained: Path, name: str) -> None:
    options, message = BAD_OPTIONS[name]
    assert message in refusal(str(trained), "--precision", "int8", "--port", "0", *options)


@pytest.mark.parametrize("content", ["", "\n \n", "short\n", "has spaces within it\n", "schlüssel-mit-umlaut-ü\n"])
def test_keys_that_are_no_keys_are_refused(trained: Path, tmp_path: Path, content: str) -> None:
    keys = tmp_path / "keys"
    keys.write_text(content, encoding="utf-8")
    message = refusal(str(trained), "--api-key-file", str(keys))
    assert "API key" in message or "key 1 must be" in message
    assert content.strip() == "" or content.strip() not in message


def test_a_port_that_is_taken_is_named(trained: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1 port {port}" in refusal(str(trained), "--precision", "int8", "--port", port)


def test_without_its_packages_it_says_what_to_install(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "fastapi.py").write_text("raise ImportError('No module named fastapi')")
    message = refusal(str(trained), environment={"PYTHONPATH": str(tmp_path)})
    assert "pip install 'jinabert-onnx[cpu,server]'" in message


def test_it_listens_on_loopback_unless_told(start: Start) -> None:
    server = start()
    assert re.search(r"serving .* on http://127\.0\.0\.1:\d+ \(int8 on cpu", server.log)
    assert "warning" not in server.log


def test_listening_for_everybody_without_keys_is_warned_of(start: Start) -> None:
    server = start(environment={"HOST": "0.0.0.0"})
    assert "no API keys are set" in server.log
    assert server.embed(input="a").status_code == 200


def test_model_and_precision_may_come_from_the_environment(trained: Path, tmp_path: Path) -> None:
    server = launch(
        tmp_path / "log", environment={"JINABERT_ONNX_MODEL": str(trained), "JINABERT_ONNX_PRECISION": "int8"}
    )
    assert httpx.get(f"{server.url}/health").json()["precision"] == "int8"
    assert server.stop() == 0
