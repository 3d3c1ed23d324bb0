"""What all tests have in common."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests check is not remembered in the user's cache; child processes inherit it."""
    os.environ["JINABERT_ONNX_CACHE"] = str(tmp_path_factory.mktemp("cache"))
