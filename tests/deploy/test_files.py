"""The files that run the image are valid and fit it and each other, and the server does what they ask of it."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.stub import Stubber
from conftest import BUNDLE, DEPLOY, mount
from container import run
from image import Image
from support.live_server import LiveServer, wait_for

YAMLLINT = (
    "{extends: default, rules: {line-length: {max: 120}, document-start: disable, braces: {max-spaces-inside: 0}, "
    "comments: {min-spaces-from-content: 1}}}"
)
REQUEST = {"input": "Wie ist das Wetter heute?"}
KEY = "a-key-of-the-tests"
SPARE = 5  # seconds beside draining, to close connections and end the process


@pytest.mark.parametrize(
    "command",
    [
        ["hadolint", "Dockerfile", "Dockerfile.lambda"],
        ["yamllint", "--strict", "-d", YAMLLINT, "compose.yaml", "kubernetes.yaml"],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"],
        ["kubernetes-validate", "--strict", "kubernetes.yaml"],
    ],
    ids=lambda command: command[0],
)
def test_the_linters_have_nothing_to_say(command: list[str]) -> None:
    tool = Path(sys.executable).parent / command[0]
    result = subprocess.run([tool, *command[1:]], cwd=DEPLOY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "api-keys.txt"
    path.write_text(f"{KEY}\n", encoding="utf-8")
    return path


def embeds_with_key(server: LiveServer) -> bool:
    with server.client() as client:
        answer = client.post("/v1/embeddings", json=REQUEST, headers={"Authorization": f"Bearer {KEY}"})
    return len(answer.json()["data"]) == 1


def wait_until_granted(server: LiveServer, path: str) -> None:
    """Ask as a probe does, until the answer is a success."""
    wait_for(lambda: httpx.get(server.url + path).is_success)


def drain(arguments: list[str]) -> int:
    return int(arguments[arguments.index("--drain") + 1])


def megabytes(size: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(\w+)", size).groups()
    return int(number) * {"MB": 1.0, "M": 1.048576, "Mi": 1.048576}[unit]


def test_compose_runs_the_server_with_keys(server_image: Image, compose: dict, keys: Path) -> None:
    mount(server_image, keys, "/run/secrets/api_keys")
    with run(server_image, *compose["command"]) as server:
        assert server.embed(**REQUEST).status_code == 401
        assert embeds_with_key(server)


def test_kubernetes_runs_the_server_with_keys_and_finds_its_probes(server_image: Image, pod: dict, keys: Path) -> None:
    (container,) = pod["containers"]
    mount(server_image, keys, "/run/keys/api-keys.txt")
    with run(server_image, *container["args"]) as server:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            wait_until_granted(server, container[probe]["httpGet"]["path"])
        assert embeds_with_key(server)


def test_there_is_time_to_drain(compose: dict, pod: dict) -> None:
    assert int(compose["stop_grace_period"].removesuffix("s")) >= drain(compose["command"]) + SPARE
    (server,) = pod["containers"]
    before = server["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= before + drain(server["args"]) + SPARE


def test_the_server_plans_with_less_memory_than_the_limit(compose: dict, pod: dict) -> None:
    (server,) = pod["containers"]
    for arguments, limit in (
        (compose["command"], compose["deploy"]["resources"]["limits"]["memory"]),
        (server["args"], server["resources"]["limits"]["memory"]),
    ):
        assert megabytes(arguments[arguments.index("--max-memory") + 1]) < megabytes(limit)


def test_user_port_and_mounts_are_the_images(server_image: Image, compose: dict, pod: dict) -> None:
    (server,) = pod["containers"]
    assert server_image.settings["USER"] == "{runAsUser}:{runAsGroup}".format(**pod["securityContext"])
    assert str(server["ports"][0]["containerPort"]) == server_image.environment["PORT"]
    assert compose["ports"][0].endswith(f":{server_image.environment['PORT']}")
    model = server_image.environment["JINABERT_ONNX_MODEL"]
    for place in (compose["volumes"][0]["target"], server["volumeMounts"][0]["mountPath"]):
        assert str(server_image.path(place)) == model


@pytest.fixture(scope="session")
def sagemaker() -> dict[str, Callable | dict]:
    """What `sagemaker_endpoint.py` defines."""
    return runpy.run_path(str(DEPLOY / "sagemaker_endpoint.py"))


def test_the_image_serves_what_sagemaker_unpacks(server_image: Image, sagemaker: dict, tmp_path: Path) -> None:
    sagemaker["write_model_archive"](BUNDLE, tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        archive.extractall(server_image.path("/opt/ml/model"), filter="data")
    with run(server_image, "serve", environment=sagemaker["ENVIRONMENT"]) as server:
        wait_until_granted(server, "/ping")
        assert len(httpx.post(f"{server.url}/invocations", json=REQUEST).json()["data"]) == 1


def test_sagemaker_would_understand_the_calls(sagemaker: dict) -> None:
    client = boto3.client(
        "sagemaker", region_name="eu-central-1", aws_access_key_id="none", aws_secret_access_key="none"
    )
    role, arn = "arn:aws:iam::123456789012:role/endpoint", "arn:aws:sagemaker:eu-central-1:123456789012:"
    with Stubber(client) as stubber:  # checks each call against the service's description
        stubber.add_response("create_model", {"ModelArn": f"{arn}model/name"})
        stubber.add_response("create_endpoint_config", {"EndpointConfigArn": f"{arn}endpoint-config/name"})
        stubber.add_response("create_endpoint", {"EndpointArn": f"{arn}endpoint/name"})
        sagemaker["create_endpoint"](client, "name", "image", role, "s3://bucket/name/model.tar.gz", "ml.c7i.large")
        stubber.assert_no_pending_responses()
