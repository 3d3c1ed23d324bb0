"""What all tests have in common."""

import os
from pathlib import Path

import pytest
from support.paths import TRAINED


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests check is not remembered in the user's cache; child processes inherit it."""
    os.environ["JINABERT_ONNX_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def trained() -> Path:
    """The bundle of the trained German/English checkpoint, exported beforehand (`make bundles` does it)."""
    return TRAINED
