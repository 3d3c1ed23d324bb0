"""Tasks of each of the card's types run through mteb with a real bundle, in processes that can be killed.

One is a task of the card itself, which mteb loads in its own way from a cache of `datasets` that was filled with other
rows: its data cannot be had here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets.packaged_modules.json.json import Json
from jinabert_onnx import Embedder
from jinabert_onnx.cli import main
from jinabert_onnx_eval.mteb.card import MEASURES, mteb_metric, read_card
from own_tasks import english, german
from scipy.stats import spearmanr

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "build" / "bundles" / "tiny-de-en"
OWN = Path(__file__).with_name("own_tasks.py")
TYPES = {"Own" + name: name for name in MEASURES}


ROW = next(row for row in read_card() if row.name == "BIOSSES")


def command(output: Path, *more: str) -> list[str]:
    return ["eval", "mteb", str(BUNDLE), "--output", str(output), "--local-files-only", "--own", str(OWN), *more]


def whole_run(output: Path) -> list[str]:
    """The command line of a process that runs all nine tasks."""
    return [sys.executable, "-m", "jinabert_onnx", *command(output, "--tasks", *TYPES, ROW.task)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a process without a network, and with the card's BIOSSES in its cache, of other rows."""
    cache = tmp_path_factory.mktemp("datasets")
    rows = cache / "rows.jsonl"
    scored = [(pair, 4.0) for pair in zip(english(24), german(24), strict=True)]
    scored += [(pair, 0.0) for pair in zip(english(24), reversed(german(24)), strict=True)]
    lines = [json.dumps({"sentence1": first, "sentence2": second, "score": score}) for (first, second), score in scored]
    rows.write_text("\n".join(lines), "utf-8")
    builder = Json(
        cache_dir=str(cache), dataset_name="biosses-sts", hash=ROW.revision, data_files={"test": [str(rows)]}
    )
    builder.download_and_prepare()
    place = cache / "mteb___biosses-sts" / "default" / "0.0.0"
    place.parent.mkdir(parents=True)
    Path(builder.cache_dir).parent.rename(place)
    return os.environ | {"HF_DATASETS_CACHE": str(cache)}


def stored(output: Path) -> dict[str, Path]:
    """mteb's files of results, by task."""
    return {path.stem: path for path in output.glob("results/*/*/Own*.json")}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> tuple[Path, dict[str, bytes]]:
    """A folder that a run was killed over when it had begun with its fourth task, and the results there."""
    output = tmp_path_factory.mktemp("mteb")
    lines = []
    with subprocess.Popen(
        whole_run(output), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if line.startswith("jinabert-onnx: 4/9 "):
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL, "".join(lines)
    return output, {name: path.read_bytes() for name, path in stored(output).items()}


@pytest.fixture(scope="module")
def resumed(
    killed: tuple[Path, dict[str, bytes]], environment: dict[str, str]
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    output, _ = killed
    found = subprocess.run(whole_run(output), capture_output=True, text=True, env=environment)
    assert found.returncode == 0, found.stderr
    return output, found


def scores_of(output: Path, task: str, subset: str = "default") -> dict[str, float]:
    scores = json.loads(stored(output)[task].read_text("utf-8"))["scores"]["test"]
    return next(one for one in scores if one["hf_subset"] == subset)


def test_a_killed_run_leaves_whole_results_of_what_was_done(killed):
    _, left = killed
    assert set(list(TYPES)[:3]) <= set(left) < set(TYPES)  # on a busy machine the fourth may have ended too
    for name, content in left.items():
        assert json.loads(content)["task_name"] == name


def test_the_next_run_goes_on_without_repeats(killed, resumed):
    _, left = killed
    output, found = resumed
    lines = found.stderr.splitlines()
    kept = {line.split()[2] for line in lines if line.endswith("(kept from an earlier run)")}
    assert kept == set(left)
    assert {name: stored(output)[name].read_bytes() for name in left} == left
    assert set(stored(output)) == set(TYPES)


def test_every_type_of_task_on_the_card_is_run_and_found_good(resumed):
    output, _ = resumed
    assert {row.type for row in read_card()} == set(TYPES.values())
    least = {"OwnClassification": 0.7, "OwnClustering": 0.8, "OwnSTS": 0.8, "OwnSummarization": 0.8}
    for name in TYPES:
        subset = "de-en" if name == "OwnBitextMining" else "default"
        assert scores_of(output, name, subset)["main_score"] >= least.get(name, 0.95), name


def test_results_have_every_metric_that_the_card_has_for_its_type(resumed):
    output, _ = resumed
    for row in read_card():
        name = f"Own{row.type}"
        scores = scores_of(output, name, "de-en" if name == "OwnBitextMining" else "default")
        names = {mteb_metric(row, metric) for metric in row.metrics} - {None}
        assert row.measure.mteb in names
        assert names <= set(scores), row.name


def test_scores_are_those_of_the_vectors_that_encode_gives(resumed):
    output, _ = resumed
    with Embedder.load(BUNDLE) as model:
        first, second = model.encode(english(24)), model.encode(german(24))
    cosines = np.diag(model.similarity(np.vstack([first, first]), np.vstack([second, np.roll(second, -1, axis=0)])))
    expected = spearmanr([5.0] * 24 + [0.0] * 24, cosines).statistic
    assert scores_of(output, "OwnSTS")["cosine_spearman"] == pytest.approx(expected, abs=1e-5)


def test_progress_is_a_line_a_task_without_bars_where_no_terminal_is(resumed):
    _, found = resumed
    lines = found.stderr.splitlines()
    of_datasets = [line for line in lines if "latest cached" in line]  # what `datasets` says of its cache
    assert len(of_datasets) == 2
    assert all(line.startswith("jinabert-onnx: ") for line in lines if line not in of_datasets), found.stderr
    assert "\r" not in found.stderr
    assert "warning" not in found.stderr


def test_a_row_of_the_card_is_judged_by_the_score_of_its_task(resumed):
    output, found = resumed
    (path,) = output.glob("report-*-fp32.json")
    (row,) = [row for row in json.loads(path.read_text("utf-8"))["rows"] if row["name"] == "BIOSSES"]
    (result,) = output.glob("results/*/*/BIOSSES.json")
    (scores,) = json.loads(result.read_text("utf-8"))["scores"]["test"]
    assert row["ours"] == pytest.approx(100 * scores["cosine_spearman"])
    assert row["difference"] == pytest.approx(row["ours"] - ROW.metrics["cos_sim_spearman"])
    assert row["verdict"] == "differs"  # other rows than the card's
    assert set(row["other_metrics"]) == set(ROW.metrics) - {"cos_sim_spearman"}
    assert "29 of 88 rows of the card can be compared: 0 agree, 1 differ, 28 not run." in found.stdout


def test_the_report_is_written_beside_the_results(resumed):
    output, found = resumed
    (path,) = output.glob("report-*-fp32.json")
    report = json.loads(path.read_text("utf-8"))
    assert len(report["rows"]) == 88
    assert {one["task"] for one in report["not_on_card"]} == set(TYPES)
    assert report["versions"]["mteb"]
    assert not report["of_card_model"]
    assert "not known to be made of it" in found.stdout
    assert len(path.with_suffix(".csv").read_text("utf-8").splitlines()) == 89
    assert "OwnSTS" in path.with_suffix(".md").read_text("utf-8")


def test_a_folder_holds_several_precisions_apart(resumed, capsys):
    output, _ = resumed
    assert main(command(output, "--tasks", "OwnSTS", "--precision", "int8")) == 0
    assert "kept" not in capsys.readouterr().err
    assert {path.parent.name.rpartition("-")[2] for path in output.glob("results/*/*/OwnSTS.json")} == {"fp32", "int8"}
    assert len(list(output.glob("report-*.json"))) == 2


def test_without_a_choice_the_report_is_of_what_the_folder_holds(resumed, capsys):
    output, _ = resumed
    choice = command(output)
    assert main(choice[: choice.index("--own")]) == 0
    shown = capsys.readouterr()
    assert "nothing to run was chosen" in shown.err
    assert "OwnRetrieval" in shown.out
