"""A server whose bundle is overwritten says so and answers no more; one whose bundle is replaced by rename goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
from conftest import Start
from support.live_server import wait_for
from support.paths import TRAINED

GRAPH = "onnx/model_int8.onnx"


def test_a_bundle_overwritten_in_place_ends_all_answers(tmp_path: Path, start: Start) -> None:
    bundle = Path(shutil.copytree(TRAINED, tmp_path / "bundle"))
    server = start(bundles=[bundle])
    assert server.embed(model="bundle", input="a").status_code == 200

    with (bundle / GRAPH).open("r+b") as stream:
        stream.write(stream.read())  # a file's times tell, its bytes are not read

    wait_for(lambda: httpx.get(f"{server.url}/ready").status_code == 503)
    answers = [server.embed(model="bundle", input=["a", "b"]) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503] * 3
    assert {answer.json()["error"]["code"] for answer in answers} == {"bundle_changed"}
    health = httpx.get(f"{server.url}/health")
    assert (health.status_code, health.json()["status"]) == (503, "bundle changed")
    assert server.log.count("replace a bundle by rename") == 1
    assert "row failed" not in server.log
    assert server.stop() == 0


def test_a_request_notices_it_without_any_probe(tmp_path: Path, start: Start) -> None:
    bundle = Path(shutil.copytree(TRAINED, tmp_path / "bundle"))
    server = start(bundles=[bundle])
    (bundle / GRAPH).touch()
    wait_for(lambda: server.embed(model="bundle", input=["a", "b"]).status_code == 503)
    assert server.log.count("replace a bundle by rename") == 1
    assert "row failed" not in server.log
    assert "running each alone" not in server.log
