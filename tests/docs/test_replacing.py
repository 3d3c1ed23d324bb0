"""The ways to replace a bundle that the page of serving shows: a loaded model goes on, the next one is the new."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import DOCS
from jinabert_onnx import Embedder
from support.paths import BUNDLES, TRAINED

OTHER = BUNDLES / "plain-4h"
_, _, SECTION = (DOCS / "deploy/serving.md").read_text("utf-8").partition("\n## Replacing a bundle\n")
WAYS = re.findall(r"(?:^    .*\n)+", SECTION.partition("\n## ")[0], re.M)


def test_the_page_shows_two_ways() -> None:
    assert [way.split()[-1] for way in WAYS] == ["bundle", "current"]


@pytest.mark.skipif(sys.platform != "linux", reason="mv -T is GNU's")
@pytest.mark.parametrize("way", WAYS)
def test_a_bundle_replaced_as_printed_harms_no_loaded_model(way: str, workplace: Path) -> None:
    (workplace / "bundle").unlink()
    shutil.copytree(TRAINED, workplace / "bundle")
    shutil.copytree(OTHER, workplace / "new-bundle")
    (workplace / "current").symlink_to("bundle")
    place = workplace / way.split()[-1]
    model = Embedder.load(place)
    expected = model.encode("a")

    subprocess.run(["sh", "-e", "-c", way], check=True)

    time.sleep(1.1)  # by then a change is noticed
    np.testing.assert_array_equal(model.encode("a"), expected)
    assert str(Embedder.load(place).fingerprint) == str(Embedder.load(OTHER).fingerprint) != str(model.fingerprint)
