"""The images of `deploy/`, each built once, and the files beside them. The bundle is exported beforehand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from image import Image, Sources, build
from support.paths import ROOT, TRAINED

DEPLOY = ROOT / "deploy"
BUNDLE = TRAINED


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `docker build .` sends: all that .dockerignore, which begins by leaving out everything, takes back."""
    target = tmp_path_factory.mktemp("context")
    rules = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    nothing, *kept, caches = rules
    assert (nothing, caches) == ("*", "**/__pycache__")
    for name in kept:
        source = ROOT / name.removeprefix("!")
        if source.is_dir():
            shutil.copytree(source, target / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    return target


@pytest.fixture(scope="session")
def server_image(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Built without a bundle, which is then where a volume would put it."""
    image = build(DEPLOY / "Dockerfile", Sources(context, {}, {}), tmp_path_factory.mktemp("server"))
    mount(image, BUNDLE, "/bundle")
    return image


@pytest.fixture(scope="session")
def lambda_image(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Built with its bundle as a named context."""
    sources = Sources(context, {"bundle": BUNDLE}, {"LAMBDA_TASK_ROOT": "/var/task"})
    return build(DEPLOY / "Dockerfile.lambda", sources, tmp_path_factory.mktemp("lambda"))


@pytest.fixture(scope="session")
def compose() -> dict:
    """The one service of the compose file."""
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]["embeddings"]


@pytest.fixture(scope="session")
def pod() -> dict:
    """What the Deployment says of its pods."""
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8"))
    return next(document for document in documents if document["kind"] == "Deployment")["spec"]["template"]["spec"]


def mount(image: Image, source: Path, target: str) -> None:
    """Put `source` at the image's `target`, over the empty directory that may be there."""
    place = image.path(target)
    if place.is_dir():
        place.rmdir()
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        place.symlink_to(source, target_is_directory=True)
    else:
        shutil.copyfile(source, place)
