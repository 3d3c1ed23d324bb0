"""Checkpoints and bundles by hub id, from a hub on the loopback interface, each time in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import error_of
from huggingface_hub import ModelCard
from jinabert_onnx import Embedder
from jinabert_onnx.bundle.archive import unpack
from jinabert_onnx.bundle.integrity import check_files
from jinabert_onnx.bundle.manifest import open_bundle
from safetensors.torch import load_file
from support.python import Ended, run_command
from support.references import read_golden

sys.path.append(str(Path(__file__).parents[1] / "runtime"))  # the runtime's tests talk to the same hub
from hub_server import NOWHERE, Hub, environment, serve

# One layer, so that its export is quick; the other one stands at `main`, where `--revision` is not to lead.
SMALL, OTHER = "plain-12h-bert-prefix", "plain-4h"
README = """\
---
license: other
license_name: example-licence
license_link: LICENSE.md
language: de
base_model: owner/ancestor
---
"""
NOT_NEEDED = (
    "LICENSE.md",
    "flax_model.msgpack",
    "pytorch_model.bin",
    "onnx/model.onnx",
    "onnx/config.json",
    "onnx/model.safetensors",
    "openvino/openvino_model.bin",
    "openvino/config.json",
)


def run(*arguments: str | Path, home: Path, endpoint: str, offline: bool = False) -> Ended:
    """`jinabert-onnx` with the hub at `endpoint` and its cache below `home`."""
    return run_command(*arguments, env=environment(home, endpoint, offline))


def add_unneeded_files(directory: Path) -> None:
    for name in NOT_NEEDED:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(b"not to be downloaded")
    (directory / "README.md").write_text(README)


@dataclass(frozen=True)
class Exported:
    """A bundle exported by hub id, the cache it went through, and what of the repository was downloaded."""

    bundle: Path
    home: Path
    downloaded: list[str]


@pytest.fixture(scope="module")
def hub(copy_checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    model = copy_checkpoint(SMALL)
    add_unneeded_files(model)
    pickled = copy_checkpoint(SMALL)
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    bundle = tmp_path_factory.mktemp("served") / "bundle"  # comes into being when `exported` is asked for
    with serve(
        {
            "owner/model": {"main": copy_checkpoint(OTHER), "v1": model},
            "owner/pickled.model": {"main": pickled},
            "owner/bundle": {"main": bundle},
        }
    ) as hub:
        yield hub


@pytest.fixture(scope="module")
def exported(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """`owner/model` at revision v1, exported to where the hub serves `owner/bundle` from."""
    home = tmp_path_factory.mktemp("home")
    bundle = hub.repositories["owner/bundle"]["main"]
    process = run("export", "owner/model", bundle, "--revision", "v1", home=home, endpoint=hub.endpoint)
    assert process.returncode == 0, process.stderr
    return Exported(bundle, home, hub.downloaded("owner/model"))


def test_export_takes_a_hub_id_and_its_revision(exported: Exported):
    bundle = open_bundle(exported.bundle)
    check_files(bundle, bundle.manifest.files, "full")
    golden = read_golden(SMALL)

    vectors = Embedder.load(exported.bundle, provider="cpu").encode(golden.texts)

    assert bundle.manifest.source == "owner/model"
    assert bundle.manifest.model.num_attention_heads == 12
    np.testing.assert_allclose(vectors, golden.pooled, rtol=0, atol=2e-5)


def test_export_downloads_nothing_that_it_does_not_need(exported: Exported):
    weights = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert exported.downloaded == ["README.md", *weights]


def test_the_model_card_names_the_repository_and_its_licence(exported: Exported):
    data = ModelCard.load(exported.bundle / "README.md").data
    assert data.base_model == "owner/model"
    assert (data.license, data.license_name) == ("other", "example-licence")
    assert data.license_link == "https://huggingface.co/owner/model/blob/main/LICENSE.md"
    assert data.language == ["de"]


def test_offline_a_cached_checkpoint_is_exported_without_a_request(hub: Hub, exported: Exported, tmp_path: Path):
    before = list(hub.requests)
    arguments = ("export", "owner/model", tmp_path / "out", "--revision", "v1")

    process = run(*arguments, home=exported.home, endpoint=hub.endpoint, offline=True)

    assert process.returncode == 0, process.stderr
    assert hub.requests == before
    first, again = (open_bundle(path).manifest for path in (exported.bundle, tmp_path / "out"))
    assert again.model == first.model
    assert again.files["probes.json"] == first.files["probes.json"]


def test_a_repository_with_only_a_pickle_is_exported(hub: Hub, exported: Exported, tmp_path: Path):
    process = run("export", "owner/pickled.model", tmp_path / "out", home=tmp_path / "home", endpoint=hub.endpoint)

    assert process.returncode == 0, process.stderr
    assert "pytorch_model.bin" in hub.downloaded("owner/pickled.model")
    probes = [open_bundle(path).manifest.files["probes.json"] for path in (exported.bundle, tmp_path / "out")]
    assert probes[0] == probes[1]


def test_a_bundle_is_embedded_by_its_hub_id(hub: Hub, exported: Exported, tmp_path: Path):
    """And only the weights of the precision that runs are fetched."""
    text = "t7 t20 t31"
    (exported.bundle / "onnx" / "model_of_another_precision.onnx").touch()
    arguments = ("embed", "owner/bundle", text, "--provider", "cpu")

    process = run(*arguments, home=tmp_path / "home", endpoint=hub.endpoint)

    assert process.returncode == 0, process.stderr
    row = json.loads(process.stdout)
    assert row["text"] == text
    local = Embedder.load(exported.bundle, provider="cpu").encode(text)
    np.testing.assert_allclose(row["embedding"], local, rtol=0, atol=1e-6)
    assert [name for name in hub.downloaded("owner/bundle") if name.startswith("onnx/")] == ["onnx/model.onnx"]
    assert "README.md" not in hub.downloaded("owner/bundle")
    before = list(hub.requests)
    offline = run(*arguments, home=tmp_path / "home", endpoint=hub.endpoint, offline=True)
    assert offline.stdout == process.stdout
    assert hub.requests == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("owner/missing",), ("owner/missing", "404")),
        (("owner/model", "--revision", "v9"), ("owner/model at revision v9", "404")),
        (("owner/bundle",), ("no weights",)),
    ],
    ids=["repository", "revision", "checkpoint"],
)
def test_what_the_hub_does_not_have_is_one_error_line(arguments, words, hub: Hub, exported: Exported, tmp_path: Path):
    source, *options = arguments

    process = run("export", source, tmp_path / "out", *options, home=tmp_path / "home", endpoint=hub.endpoint)

    message = error_of(process)
    assert not [word for word in words if word not in message], message
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []


def test_a_bundle_in_a_repository_that_holds_a_checkpoint_is_one_error_line(hub: Hub, tmp_path: Path):
    process = run("embed", "owner/model", "t7", home=tmp_path / "home", endpoint=hub.endpoint)

    assert "not a bundle" in error_of(process)


@pytest.mark.parametrize("offline", [True, False], ids=["told", "unreachable"])
def test_offline_without_a_cache_is_one_error_line_and_no_request(offline: bool, hub: Hub, tmp_path: Path):
    before = list(hub.requests)
    endpoint = hub.endpoint if offline else NOWHERE

    process = run("embed", "owner/model", "t7", home=tmp_path / "home", endpoint=endpoint, offline=offline)

    message = error_of(process)
    assert "owner/model" in message
    assert "not a local directory" in message
    assert hub.requests == before


def test_a_model_card_is_downloaded_where_the_whole_bundle_is(hub: Hub, exported: Exported, tmp_path: Path):
    process = run("pack", "owner/bundle", tmp_path / "out.tar", home=tmp_path / "home", endpoint=hub.endpoint)

    assert process.returncode == 0, process.stderr
    unpack(tmp_path / "out.tar", tmp_path / "out")
    assert (tmp_path / "out" / "README.md").read_bytes() == (exported.bundle / "README.md").read_bytes()
