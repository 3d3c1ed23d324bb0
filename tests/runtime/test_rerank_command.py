"""`jinabert-onnx rerank`, and what `info` and `verify` say of a cross-encoder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx.cli.main import main
from support.bundles import edit_json, record_again
from support.pair_goldens import CROSS_ENCODERS, RERANKERS, read_pair_golden
from support.paths import BUNDLES, TRAINED, TRAINED_RERANKER

DOCUMENTS = ["Äpfel und Birnen", "Das Wetter ist heute schön.", "The weather is nice today."]


@pytest.mark.parametrize("name", RERANKERS)
def test_the_command_gives_the_originals_scores(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = read_pair_golden(name)
    query = next(pair[0] for pair in golden.pairs if not isinstance(pair, str))
    chosen = [
        index
        for index, pair in enumerate(golden.pairs)
        if pair[0] == query and "\n" not in pair[1] and golden.lengths[index] < 1000
    ]
    assert len(chosen) > 3
    (tmp_path / "documents.txt").write_text("".join(f"{golden.pairs[index][1]}\n" for index in chosen), "utf-8")
    assert (
        main(["rerank", str(golden.bundle), query, "--input", str(tmp_path / "documents.txt"), "--format", "jsonl"])
        == 0
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(line["index"] for line in lines) == list(range(len(chosen)))
    for line in lines:
        assert line["document"] == golden.pairs[chosen[line["index"]]][1]
        assert line["score"] == pytest.approx(golden.scores[chosen[line["index"]], 0], abs=2e-5)
    assert [line["score"] for line in lines] == sorted((line["score"] for line in lines), reverse=True)


@pytest.mark.parametrize("name", RERANKERS)
def test_long_documents_are_read_in_the_originals_windows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    golden = json.loads((CROSS_ENCODERS / name / "golden_rerank.json").read_text("utf-8"))
    run = golden["runs"][0]
    lengths = {f"--{key.replace('_', '-')}": str(run[key]) for key in run if key.startswith(("max_", "overlap_"))}
    options = [word for option in lengths.items() for word in option]
    query = golden["queries"][run["query"]]
    assert main(["rerank", str(BUNDLES / name), query, *golden["documents"], *options, "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["index"] for line in lines] == run["order"]
    for line in lines:
        assert line["score"] == pytest.approx(run["relevance_scores"][line["index"]], abs=2e-5)


def test_a_table_is_as_wide_as_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    texts = [*DOCUMENTS, "word " * 50, "two\nlines \x1b[31m"]
    assert main(["rerank", str(TRAINED_RERANKER), "Wie ist das Wetter?", *texts, "--top-n", "5"]) == 0
    output = capsys.readouterr().out
    lines = output.splitlines()
    assert lines[0].split() == ["place", "index", "score", "document"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3", "4", "5"]
    assert max(map(len, lines)) == 60
    assert "\x1b" not in output
    assert any(line.endswith("…") for line in lines)
    assert all(line == line.rstrip() for line in lines)


def test_letters_of_east_asian_scripts_take_two_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["rerank", str(TRAINED_RERANKER), "東京", "東京の天気" * 20]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert 58 <= sum(2 if ord(letter) > 0x2FFF else 1 for letter in line) <= 60


def test_an_output_file_appears_whole(tmp_path: Path) -> None:
    output = tmp_path / "ranked.jsonl"
    arguments = ["rerank", str(TRAINED_RERANKER), "Wetter", *DOCUMENTS, "--format", "jsonl", "--output", str(output)]
    assert main([*arguments, "--top-n", "2"]) == 0
    assert len(output.read_text("utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([str(TRAINED), "query", "text"], "an embedding model, which gives vectors and scores no pairs"),
        ([str(BUNDLES / "classifier-3-4h"), "query", "text"], "rank needs a reranker, which has one label"),
        ([str(TRAINED_RERANKER), "query", "text", "--max-length", "100"], "less than twice max_query_length 512"),
        ([str(TRAINED_RERANKER), "query", "text", "--input", "-"], "give texts or --input, not both"),
        ([str(TRAINED_RERANKER), "query", "text", "--top-n", "0"], "top_n"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rerank", *arguments]) == 1
    told = capsys.readouterr()
    assert words in told.err
    assert len(told.err.splitlines()) == 1
    assert told.out == ""


def test_embed_names_rerank(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", str(TRAINED_RERANKER), "text"]) == 1
    assert "`jinabert-onnx rerank`" in capsys.readouterr().err


def test_info_tells_of_labels_scores_and_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(BUNDLES / "classifier-3-4h"), "--run"]) == 0
    output = capsys.readouterr().out
    assert "scores       3 labels (contradiction, entailment, neutral) of a pair of texts, softmax of logits" in output
    assert "rank correlation" in output
    assert "prompts" not in output
    assert "provider     cpu" in output
    manifest = json.loads((BUNDLES / "classifier-3-4h" / "manifest.json").read_text("utf-8"))
    assert manifest["schema"] == 3


def test_verify_compares_logits_and_refuses_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(TRAINED_RERANKER)]) == 0
    output = capsys.readouterr().out
    assert "fp32         agrees with torch on cpu: largest difference of a logit" in output
    bundle = Path(shutil.copytree(TRAINED_RERANKER, tmp_path / "bundle"))

    def shift(content: dict) -> None:
        content["vectors"] = (np.array(content["vectors"]) + 0.01).tolist()

    edit_json(bundle / "probes.json", shift)
    record_again(bundle, "probes.json")
    assert main(["verify", str(bundle), "--precision", "fp32"]) == 1
    assert "fp32 on cpu gives other scores than torch gave at export" in capsys.readouterr().err
