"""Published checkpoints are recognised by their vectors, and impostors refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import GOLDENS
from jinabert_onnx_export import VerificationError, export
from jinabert_onnx_export.checkpoint.known_vectors import KnownVectors, check_known_vectors, claimed_name, read_known

TEXTS = ("What is Deep Learning?", "Deep Learning is...")


@pytest.fixture
def vectors() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {text: generator.normal(size=32).astype(np.float32) for text in ("hello world", *TEXTS)}


@pytest.fixture
def known(vectors: dict[str, np.ndarray]) -> dict[str, KnownVectors]:
    """One checkpoint that is known by `vectors`, and another."""
    first = vectors["hello world"] / np.linalg.norm(vectors["hello world"])
    full = np.stack([vectors[text] for text in TEXTS])
    return {
        "owner/other": KnownVectors("owner/other", "hello world", -first[:5]),
        "owner/this": KnownVectors("owner/this", "hello world", first[:5], TEXTS, full),
    }


def embed_with(vectors: dict[str, np.ndarray], offset: float = 0.0) -> Callable[[Sequence[str]], np.ndarray]:
    return lambda texts: np.stack([vectors[text] for text in texts]) + np.float32(offset)


def test_the_six_published_checkpoints_are_known() -> None:
    known = read_known()
    assert len(known) == 6
    assert all(entry.first_values.shape == (5,) for entry in known.values())
    full = {
        name.rpartition("v2-")[2]: entry.vectors.shape for name, entry in known.items() if entry.vectors is not None
    }
    assert full == {"small-en": (3, 512), "base-code": (3, 768)}


@pytest.mark.parametrize("source", ["jinaai/jina-embeddings-v2-base-de", "jina-embeddings-v2-base-de"])
def test_a_hub_id_or_a_directorys_name_claims_a_checkpoint_and_other_names_none(source: str) -> None:
    assert claimed_name(source, read_known()) == "jinaai/jina-embeddings-v2-base-de"
    assert {
        claimed_name(other, read_known()) for other in ("tiny-de-en", "me/jina-embeddings-v2-base-de", "base-de")
    } == {None}


@pytest.mark.parametrize("claimed", ["owner/this", None])
def test_right_vectors_are_recognised_with_and_without_a_claim(vectors: dict, known: dict, claimed: str | None) -> None:
    assert check_known_vectors(claimed, embed_with(vectors), known) == "owner/this"
    assert check_known_vectors(claimed, embed_with(vectors, offset=1e-4), known) == "owner/this"


def test_other_vectors_without_a_claim_are_nobodys(vectors: dict, known: dict) -> None:
    assert check_known_vectors(None, embed_with(vectors, offset=0.5), known) is None


@pytest.mark.parametrize(("claimed", "told"), [("other", ".*'hello world' differs by"), ("this", r"\(a cosine of -1")])
def test_a_wrong_claim_is_refused_and_full_vectors_are_compared(
    vectors: dict, known: dict, claimed: str, told: str
) -> None:
    vectors[TEXTS[1]] = -vectors[TEXTS[1]]
    with pytest.raises(VerificationError, match=f"not those known for owner/{claimed} {told}"):
        check_known_vectors(f"owner/{claimed}", embed_with(vectors), known)


def test_an_export_that_claims_a_published_name_wrongly_writes_nothing(tmp_path: Path) -> None:
    source = shutil.copytree(GOLDENS.parent / "tiny-de-en", tmp_path / "jina-embeddings-v2-small-en")
    with pytest.raises(VerificationError, match="give its directory another name"):
        export(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
