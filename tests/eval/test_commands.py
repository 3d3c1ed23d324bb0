"""`jinabert-onnx eval` as people run it: tables, JSON, the manifest, and errors in one line."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.cli import main
from support.bundles import edit_json, update_json
from support.paths import TRAINED
from support.python import run_python

Capture = pytest.CaptureFixture[str]
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "quality.md"


def documented(report: str, trained: Path, few_texts: Path) -> list[str]:
    """The words of the guide's command that reproduces its figures, with fewer texts."""
    found = re.search(
        rf"^    \.venv/bin/jinabert-onnx (eval {report} .*--texts tests.*)$", GUIDE.read_text("utf-8"), re.M
    )
    assert found
    places = {"build/bundles/tiny-de-en": trained, "tests/data/tiny-de-en/heldout.json": few_texts}
    return [str(places.get(word, word)) for word in shlex.split(found[1])]


def run(*words: object) -> int:
    return main([str(word) for word in words])


def refused(capsys: Capture, *words: object) -> str:
    """The one line that a command fails with."""
    assert run("eval", *words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.splitlines()[-1]
    assert last.startswith("jinabert-onnx: error: ")
    return last


@pytest.mark.parametrize("report", ["precisions", "languages", "retrieval", "long", "mteb"])
def test_help_loads_neither_torch_nor_mteb(report: str):
    code = (
        "import sys\nfrom jinabert_onnx.cli import main\n"
        f"try: main(['eval', '{report}', '--help'])\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        "assert not {'torch', 'mteb', 'transformers', 'onnx', 'onnxruntime'} & set(sys.modules)"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert "MODEL" in done.stdout


def test_precisions_are_recorded_and_shown(trained_copy: Path, few_texts: Path, tmp_path: Path, capsys: Capture):
    files = open_bundle(trained_copy).manifest.files
    written = tmp_path / "precisions.json"
    words = documented("precisions", trained_copy, few_texts)
    assert run(*words, "--json", written, "--record") == 0
    table = capsys.readouterr().out
    assert "sentences: 140 texts, 60 of them pairs" in table
    found = json.loads(written.read_text("utf-8"))
    assert found["texts"]["pairs"] == 60
    assert found["machine"]["cpu"]
    assert found["versions"]["onnxruntime"]
    assert [group["name"] for group in found["results"]["groups"]][:2] == ["sentences", "64 tokens"]
    int8 = found["results"]["groups"][0]["forms"]["int8"]
    assert 0.99 < int8["fidelity"]["min_cosine"] < int8["fidelity"]["mean_cosine"] < 1
    essence = found["results"]["essence"]
    assert 1 > essence["int8"]["mean_cosine"] > 0.9997  # stock int8 has 0.9994, and 0.998 at least
    assert essence["int8"]["min_cosine"] > 0.999
    assert essence["fp32"].keys() == {"german_finds_english", "english_finds_german"}
    assert all(line["german_finds_english"] > 0.9 for line in essence.values())

    manifest = open_bundle(trained_copy).manifest
    assert manifest.files == files
    assert manifest.quality["texts"]["file"] == "few.json"
    assert manifest.quality["precisions"] == essence
    assert essence.keys() == {"fp32", "fp16", "int8"}
    assert run("info", trained_copy) == 0
    shown = capsys.readouterr().out
    assert f"on few.json (sha256 {found['texts']['sha256'][:12]})" in shown
    assert f"{essence['int8']['mean_cosine']:.6f}" in shown
    assert run("verify", trained_copy, "--precision", "int8") == 0


def test_recording_leaves_the_fingerprint(trained_copy: Path, capsys: Capture):
    def space() -> str:
        run("info", trained_copy)
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("space"))

    before = space()
    quality = {"texts": {"file": "a"}, "precisions": {"int8": {"mean_cosine": 0.5}}}
    update_json(trained_copy / "manifest.json", quality=quality)
    assert space() == before


@pytest.mark.parametrize(
    "quality", [{}, {"texts": 3}, {"texts": {"file": "\x1b[2J"}, "precisions": {"int8": "\x1b[2J", "\x1b[2J": {}}}]
)
def test_info_shows_bundles_whatever_quality_says(trained_copy: Path, quality: object, capsys: Capture):
    manifest = trained_copy / "manifest.json"
    update_json(manifest, quality=quality)
    assert run("info", trained_copy) == 0
    assert "\x1b" not in capsys.readouterr().out
    edit_json(manifest, lambda content: content.pop("quality"))  # as bundles of earlier versions are
    assert open_bundle(trained_copy).manifest.quality == {}


def test_a_manifest_in_a_cache_is_not_written(trained_copy: Path, few_texts: Path, tmp_path: Path, capsys: Capture):
    manifest = trained_copy / "manifest.json"
    manifest.rename(tmp_path / "blob")
    manifest.symlink_to(tmp_path / "blob")
    before = (tmp_path / "blob").read_bytes()
    assert "copy the bundle" in refused(capsys, "precisions", trained_copy, "--texts", few_texts, "--record")
    assert (tmp_path / "blob").read_bytes() == before


def test_precisions_need_fp32(trained_copy: Path, few_texts: Path, capsys: Capture):
    edit_json(trained_copy / "manifest.json", lambda manifest: manifest["precisions"].pop("fp32"))
    assert "no fp32 to compare with" in refused(capsys, "precisions", trained_copy, "--texts", few_texts)


@pytest.mark.parametrize("report", ["precisions", "languages", "retrieval", "long"])
def test_the_runtime_is_enough(report: str, few_texts: Path):
    code = (
        "import sys\nfor name in ('torch', 'onnx', 'onnxscript', 'safetensors', 'mteb'):\n"
        "    sys.modules[name] = None\n"
        "from jinabert_onnx.cli import main\nsys.exit(main(['eval', *sys.argv[1:]]))"
    )
    done = run_python("-c", code, report, TRAINED, "--texts", few_texts)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("report", "shown"), [("languages", "German finds English"), ("long", "documents of more than 512 tokens")]
)
def test_languages_and_long_texts(report: str, shown: str, few_texts: Path, tmp_path: Path, capsys: Capture):
    written = tmp_path / "report.json"
    assert run(*documented(report, TRAINED, few_texts), "--precision", "int8", "--json", written) == 0
    assert shown in capsys.readouterr().out
    found = json.loads(written.read_text("utf-8"))
    assert (found["report"], found["model"].rpartition(":")[2]) == (report, "int8")
    results = found["results"]
    if report == "languages":
        assert results["pairs"] == 60
        assert results["directions"]["german_finds_english"]["hit_10"] > 0.9
    else:
        assert results["readings"]["first 512"]["mean_cosine"] < 1


def test_retrieval_with_a_reranker_beside(
    few_texts: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
):
    reranker = re.search(r"^```python\n(# words\.py.*?)^```", GUIDE.read_text("utf-8"), re.M | re.S)
    assert reranker
    (tmp_path / "words.py").write_text(reranker[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    words = documented("retrieval", TRAINED, few_texts)
    assert run(*words, "--precision", "int8", "--chunk-tokens", 96, "--json", "r.json") == 0
    table = capsys.readouterr().out
    assert "late, reranked" in table
    found = json.loads(Path("r.json").read_text("utf-8"))["results"]
    assert found["rows"].keys() == {"plain", "late", "plain, reranked", "late, reranked"}
    assert found["rows"]["plain, reranked"] != found["rows"]["plain"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("retrieval", "--rerank", "nothing"), "give MODULE:FUNCTION"),
        (("retrieval", "--rerank", "no_such_module_here:f"), "cannot be imported"),
        (("retrieval", "--rerank", "json:no_such"), "has no function 'no_such'"),
        (("retrieval", "--chunk-tokens", "0"), "must be 1 or more"),
        (("languages", "--json", "no/such/place.json"), "there is no directory"),
        (("languages", "--json", "."), "is a directory"),
    ],
)
def test_wrong_options_are_named(few_texts: Path, words: tuple[str, ...], named: str, capsys: Capture):
    assert named in refused(capsys, words[0], TRAINED, "--texts", few_texts, *words[1:])


@pytest.mark.parametrize("report", ["languages", "retrieval", "long"])
def test_texts_that_a_report_cannot_use_are_named(report: str, write_json: Callable[[object], Path], capsys: Capture):
    line = refused(capsys, report, TRAINED, "--texts", write_json({"sentences": ["one"]}))
    assert "this report needs" in line


def test_texts_must_be_given(capsys: Capture):
    with pytest.raises(SystemExit) as ended:
        main(["eval", "languages", str(TRAINED)])
    assert ended.value.code == 2
    assert "--texts" in capsys.readouterr().err


def test_the_mteb_command_of_the_results_shows_the_card(tmp_path: Path, capsys: Capture):
    results = (GUIDE.parents[1] / "reference" / "results.md").read_text("utf-8")
    found = re.search(r"^    jinabert-onnx (eval mteb bundle .*?)\s+#", results, re.M)
    assert found
    places = {"bundle": TRAINED, "scores": tmp_path / "scores"}
    assert run(*(places.get(word, word) for word in shlex.split(found[1]))) == 0
    assert "SummEval" in capsys.readouterr().out
