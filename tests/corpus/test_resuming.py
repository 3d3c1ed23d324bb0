"""Work that is stopped at any moment goes on without loss or repeats: real processes, real signals."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import PATIENCE, command, corpus, embed, killed, start

OPTIONS = ("--shard-rows", 50)


@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_a_process_killed_several_times_gives_the_same_bytes(kind: str, precision: str, tmp_path: Path) -> None:
    source = corpus(tmp_path / ("texts.parquet" if kind == "parquet" else "texts.jsonl"))
    whole, output = tmp_path / f"whole.{kind}", tmp_path / f"out.{kind}"
    options = (*OPTIONS, "--precision", precision)
    assert embed(source, whole, *options).returncode == 0
    parts, chance, kills = tmp_path / f"out.{kind}.parts", random.Random(kind + precision), 0
    while not output.exists():
        done = len(list(parts.glob("shard-*.json"))) if parts.exists() else 0
        wanted = done + chance.randrange(1, 6) if kills < 4 else 0
        process = start(source, output, wanted, "--precision", precision)
        if kills < 4:
            time.sleep(chance.random() * 0.05)
            process.kill()
            kills += 1
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode in (0, -signal.SIGKILL), errors
    assert kills == 4
    assert output.read_bytes() == whole.read_bytes()
    assert not parts.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on(number: signal.Signals, tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "texts.jsonl"), tmp_path / "out.npy"
    process = start(source, output, 2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert "of 24 shards are done; run the same command again to resume" in errors
    assert not output.exists()
    again = embed(source, output, *OPTIONS)
    assert again.returncode == 0
    assert "going on: " in again.stderr


def test_another_plan_or_input_is_refused_and_what_is_done_stays(tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "texts.jsonl"), tmp_path / "out.npy"
    parts = killed(source, output, 1)
    before = sorted(path.name for path in parts.glob("shard*"))
    other = embed(source, output, *OPTIONS, "--normalize")
    assert other.returncode == 1
    assert "normalize was False and is True" in other.stderr
    os.utime(source, ns=(1, 1))
    changed = embed(source, output, *OPTIONS)
    assert changed.returncode == 1
    assert "the input has changed" in changed.stderr
    assert set(before) <= {path.name for path in parts.iterdir()}


def test_a_second_process_on_the_same_output_is_refused(tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "texts.jsonl"), tmp_path / "out.npy"
    process = start(source, output, 1)
    process.send_signal(signal.SIGSTOP)
    try:
        second = embed(source, output, *OPTIONS)
    finally:
        process.send_signal(signal.SIGCONT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert second.returncode == 1
    assert "another process is working on it" in second.stderr


def test_an_input_that_changes_on_the_way_is_refused(tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "texts.jsonl"), tmp_path / "out.npy"
    process = start(source, output, 1)
    with source.open("a") as stream:
        stream.write('{"text": "mehr"}\n')
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "has changed since the work on it began" in errors


def test_a_full_disk_is_one_line_and_the_work_goes_on_later(tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "texts.jsonl"), tmp_path / "out.npy"
    line = " ".join(command(source, output, *OPTIONS))
    limited = subprocess.run(["bash", "-c", f"trap '' XFSZ; ulimit -f 100; {line}"], capture_output=True, check=False)
    assert limited.returncode == 1
    assert b"Traceback" not in limited.stderr
    assert b"run the same command again to resume" in limited.stderr
    assert not output.exists()
    assert embed(source, output, *OPTIONS).returncode == 0
