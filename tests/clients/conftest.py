"""Live servers, and models in this process that say what they must answer.

The bundles are exported beforehand (`make test-clients` does it). Neither the clients nor the servers speak to any
other machine.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jinabert_onnx import CrossEncoder, Embedder
from support.live_server import LiveServer, serving
from support.network import only_hosts
from support.paths import TRAINED, TRAINED_RERANKER

THREADS = 2
NAMES = ("bundle", "jinaai/jina-embeddings-v2-base-de", "text-embedding-3-small")
RERANKER = "jina-reranker-v1-base-en"  # what Jina's clients ask for by default
KEY = "a-key-of-some-length"


@pytest.fixture(autouse=True)
def loopback_only() -> Iterator[None]:
    """Fails the test if a client asks for another host."""
    with only_hosts("127.0.0.1"):
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server as most run it, in fp32; clients know its model by several names."""
    names = [option for name in NAMES for option in ("--model-name", name)]
    log = tmp_path_factory.mktemp("server") / "log"
    with serving(TRAINED, log, "--precision", "fp32", "--threads", str(THREADS), *names) as live:
        yield live.url


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of an embedding model and a reranker, in fp32."""
    names = ("--model-name", NAMES[0], "--model-name", RERANKER)
    log = tmp_path_factory.mktemp("both") / "log"
    options = ("--precision", "fp32", "--threads", str(THREADS), *names)
    with serving([TRAINED, TRAINED_RERANKER], log, *options) as live:
        yield live


@pytest.fixture(scope="session")
def private_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of both that wants a key, takes this model's token ids, and runs int8."""
    directory = tmp_path_factory.mktemp("private")
    (directory / "keys").write_text(f"{KEY}\n", encoding="utf-8")
    options = ("--api-key-file", str(directory / "keys"), "--accept-token-ids")
    log = directory / "log"
    with serving([TRAINED, TRAINED_RERANKER], log, "--precision", "int8", "--threads", str(THREADS), *options) as live:
        yield live.url


@pytest.fixture(scope="session")
def embedder() -> Iterator[Embedder]:
    """The same model as `server` has."""
    with Embedder.load(TRAINED, precision="fp32", threads=THREADS) as embedder:
        yield embedder


@pytest.fixture(scope="session")
def private_embedder() -> Iterator[Embedder]:
    """The same model as `private_server` has."""
    with Embedder.load(TRAINED, precision="int8", threads=THREADS) as embedder:
        yield embedder


@pytest.fixture(scope="session")
def reranker() -> Iterator[CrossEncoder]:
    """The same reranker as `both` has."""
    with CrossEncoder.load(TRAINED_RERANKER, precision="fp32", threads=THREADS) as reranker:
        yield reranker
