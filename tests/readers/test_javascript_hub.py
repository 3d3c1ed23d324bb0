"""transformers.js fetches a bundle whose weights lie beside the graph from a hub, and needs to be told that they do."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import OUTSIDE
from jinabert_onnx import Embedder
from snippets import Job, Vectors, run_node
from support.bundles import edit_json
from support.references import cosines

TEXTS = ["t7 t8", "t9 t10 t11 t12 t13", "t7"]
FETCHING = """import {{ env, pipeline }} from '@huggingface/transformers';
env.allowLocalModels = false;
env.remoteHost = '{host}';
env.cacheDir = './cache';
const extract = await pipeline('feature-extraction', 'owner/bundle', {{ dtype: '{precision}' }});
const vectors = (await extract({texts}, {{ pooling: 'mean', normalize: false }})).tolist();
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files, without a line for each on stderr."""

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory for files at main of owner/bundle, and the address of the hub that has them."""
    root = tmp_path / "hub"
    handler = functools.partial(Quiet, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield root / "owner" / "bundle" / "resolve" / "main", f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def fetch(host: str, precision: str, directory: Path) -> Vectors:
    job = Job(
        FETCHING.format(host=host, precision=precision, texts=json.dumps(TEXTS)), directory, directory / "vectors.npy"
    )
    run_node(job)
    return np.load(job.output)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_weights_beside_the_graph_are_fetched(
    precision: str, hub: tuple[Path, str], bundles: dict[str, Path], tmp_path: Path
) -> None:
    files, host = hub
    shutil.copytree(bundles[OUTSIDE], files)
    found = fetch(host, precision, tmp_path)
    with Embedder.load(bundles[OUTSIDE], precision=precision) as model:
        expected = model.encode(TEXTS)
    assert cosines(found, expected).min() >= 0.9999
    if precision == "fp32":
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_without_the_note_they_are_not(hub: tuple[Path, str], bundles: dict[str, Path], tmp_path: Path) -> None:
    files, host = hub
    shutil.copytree(bundles[OUTSIDE], files)
    edit_json(files / "config.json", lambda config: config.pop("transformers.js_config"))
    with pytest.raises(AssertionError, match=r"model\.onnx_data"):
        fetch(host, "fp32", tmp_path)
