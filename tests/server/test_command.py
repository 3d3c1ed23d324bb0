"""`jinabert-onnx serve` as a command: what it refuses before it listens, and where it listens."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import httpx
import pytest
from conftest import Start
from support.live_server import launch
from support.paths import TRAINED
from support.python import run_command


def refusal(*options: str, environment: dict[str, str] | None = None, code: int = 1) -> str:
    """The one line of a command that must fail."""
    found = run_command("serve", *options, env=os.environ | (environment or {}), timeout=120)
    assert found.returncode == code, found.stderr
    assert "Traceback" not in found.stderr
    return found.stderr.splitlines()[-1]


def test_a_model_is_needed() -> None:
    assert "set JINABERT_ONNX_MODEL" in refusal()


BAD_OPTIONS = {
    "body": (["--max-body", "lots"], "--max-body 'lots' is not a size"),
    "key file": (["--api-key-file", "/nowhere/keys"], "/nowhere/keys: No such file"),
    "host": (["--host", "203.0.113.1"], "cannot listen on 203.0.113.1"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options_are_one_line(name: str) -> None:
    options, message = BAD_OPTIONS[name]
    assert message in refusal(str(TRAINED), "--precision", "int8", "--port", "0", *options)


# What no request could get past, or no clock could keep: the option, its value, and what would do.
ABSURD_OPTIONS = {
    "port": (["--port", "99999"], "--port is '99999'; it must be a number from 0 to 65535"),
    "port of letters": (["--port", "http"], "--port is 'http'; it must be a number from 0 to 65535"),
    "no host": (["--host", ""], "--host is empty; give an address"),
    "timeout": (["--timeout", "0"], "--timeout is 0; it must be from 0.1 to 86400 seconds"),
    "timeout not a number": (["--timeout", "nan"], "--timeout is nan; it must be from 0.1"),
    "timeout of no time": (["--timeout", "1e-6"], "--timeout is 1e-06; it must be from 0.1"),
    "body timeout of no time": (["--body-timeout", "1e-6"], "--body-timeout is 1e-06; it must be from 0.1"),
    "drain": (["--drain", "-1"], "--drain is -1; it must be from 1 to 86400 seconds"),
    "body of a byte": (["--max-body", "1"], "--max-body is 1 bytes; a request of one letter has 13"),
    "no inputs": (["--max-inputs", "0"], "--max-inputs is 0; it must be at least 1"),
    "no name": (["--model-name", ""], "--model-name is ''; give a name"),
    "blank name": (["--model-name", "good", "--model-name", " "], "--model-name is ' '; give a name"),
    "name of no character": (["--model-name", "\udcff"], "--model-name is '\\udcff'; give a name"),
    "special tokens alone": (["--max-length", "2"], "--max-length is 2; it must be from 3, of which 2 are special"),
    "negative length": (["--max-length", "-1"], "--max-length is -1; it must be from 3"),
    "length": (["--max-length", "100000"], "--max-length is 100000; it must be from 3"),
    "queue of a token": (["--max-queue-tokens", "1"], "--max-queue-tokens is 1; a text may have 8192 tokens, so it"),
    "queue below a text": (
        ["--max-queue-tokens", "99", "--max-length", "100"],
        "--max-queue-tokens is 99; a text may have 100 tokens, so it must be at least 100, or --max-length smaller",
    ),
}


@pytest.mark.parametrize("name", ABSURD_OPTIONS)
def test_absurd_options_are_wrong_usage_that_says_what_would_do(name: str) -> None:
    options, message = ABSURD_OPTIONS[name]
    assert f"jinabert-onnx serve: error: {message}" in refusal(
        str(TRAINED), "--precision", "int8", "--port", "0", *options, code=2
    )


def test_a_memory_limit_below_the_idle_server_names_one_that_is_enough(start: Start) -> None:
    message = refusal(str(TRAINED), "--precision", "int8", "--port", "0", "--max-memory", "150MB")

    found = re.search(r"--max-memory is 150MB, and .*; give at least (\d+MB)", message)
    assert found, message
    server = start("--max-memory", found[1])
    assert server.embed(input="a " * 200).status_code == 200


def test_the_smallest_limits_serve(start: Start) -> None:
    server = start("--max-length", "3", "--max-queue-tokens", "3", "--max-body", "13B", "--max-inputs", "1")
    answer = httpx.post(f"{server.url}/v1/embeddings", content=b'{"input":"a"}')
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("content", ["", "\n \n", "short\n", "has spaces within it\n", "schlüssel-mit-umlaut-ü\n"])
def test_keys_that_are_no_keys_are_refused(tmp_path: Path, content: str) -> None:
    keys = tmp_path / "keys"
    keys.write_text(content, encoding="utf-8")
    message = refusal(str(TRAINED), "--api-key-file", str(keys))
    assert "API key" in message or "key 1 must be" in message
    assert content.strip() == "" or content.strip() not in message


def test_a_variable_for_keys_without_a_key_is_refused() -> None:
    message = refusal(str(TRAINED), "--port", "0", environment={"JINABERT_ONNX_API_KEYS": " , "})
    assert "JINABERT_ONNX_API_KEYS: holds no API key" in message


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1 port {port}" in refusal(str(TRAINED), "--precision", "int8", "--port", port)


def test_without_its_packages_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "fastapi.py").write_text("raise ImportError('No module named fastapi')")
    message = refusal(str(TRAINED), environment={"PYTHONPATH": str(tmp_path)})
    assert "pip install 'jinabert-onnx[cpu,server]'" in message


def test_it_listens_on_loopback_unless_told(start: Start) -> None:
    server = start()
    assert re.search(r"serving .* on http://127\.0\.0\.1:\d+ \(int8 on cpu", server.log)
    assert "warning" not in server.log


def test_listening_for_everybody_without_keys_is_warned_of(start: Start) -> None:
    server = start(environment={"HOST": "0.0.0.0"})
    assert "no API keys are set" in server.log
    assert server.embed(input="a").status_code == 200


def test_model_and_precision_may_come_from_the_environment(tmp_path: Path) -> None:
    server = launch(
        tmp_path / "log", environment={"JINABERT_ONNX_MODEL": str(TRAINED), "JINABERT_ONNX_PRECISION": "int8"}
    )
    assert httpx.get(f"{server.url}/health").json()["precision"] == "int8"
    assert server.stop() == 0
