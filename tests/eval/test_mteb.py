"""`jinabert-onnx eval mteb`: which tasks a choice stands for, that a killed run goes on, and the table beside the card.

Two tasks of the card are loaded as mteb loads them, from a cache of `datasets` that was filled with other rows: their
own data are not available here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import mteb
import pytest
from datasets.packaged_modules.json.json import Json
from jinabert_onnx.cli import main
from jinabert_onnx.errors import InputError
from jinabert_onnx_eval.mteb.card import SPLIT, SUBSET, read_card
from jinabert_onnx_eval.mteb.run import choose_tasks
from own_tasks import english, german
from support.paths import TRAINED
from support.python import Ended, run_command, run_python

Capture = pytest.CaptureFixture[str]
CARD = {row.task: row for row in read_card()}
CACHED = ("BIOSSES", "STS16")
MISSING = "STS12"


def words(output: Path, *more: str) -> list[str]:
    return ["eval", "mteb", str(TRAINED), "--output", str(output), "--local-files-only", *more]


def process(output: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "jinabert_onnx", *words(output, *more)]


def fails(capsys: Capture, output: Path, *more: str) -> str:
    """The last line of what the command says when it fails."""
    assert main(words(output, *more)) == 1
    return capsys.readouterr().err.splitlines()[-1]


def fill(cache: Path, task: str) -> None:
    """Put rows where `datasets` looks for those of `task`."""
    dataset = mteb.get_task(task).metadata.dataset
    scored = [(pair, 4.0) for pair in zip(english(24), german(24), strict=True)]
    scored += [(pair, 0.0) for pair in zip(english(24), reversed(german(24)), strict=True)]
    rows = cache / f"{task}.jsonl"
    lines = [json.dumps({"sentence1": first, "sentence2": second, "score": score}) for (first, second), score in scored]
    rows.write_text("\n".join(lines), "utf-8")
    owner, _, name = dataset["path"].partition("/")
    builder = Json(
        cache_dir=str(cache / task), dataset_name=name, hash=dataset["revision"], data_files={"test": [str(rows)]}
    )
    builder.download_and_prepare()
    place = cache / f"{owner}___{name}" / "default" / "0.0.0"
    place.parent.mkdir(parents=True)
    Path(builder.cache_dir).parent.rename(place)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a process without a network, and with rows for two tasks."""
    cache = tmp_path_factory.mktemp("datasets")
    for task in CACHED:
        fill(cache, task)
    return os.environ | {"HF_DATASETS_CACHE": str(cache)}


def stored(output: Path) -> dict[str, Path]:
    """mteb's files of results, by task."""
    return {path.stem: path for path in output.glob("results/*/*/*.json") if path.stem in CARD}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> tuple[Path, bytes]:
    """A folder that a run was killed over when it had begun with its second task, and the first one's result."""
    output = tmp_path_factory.mktemp("mteb")
    lines = []
    command = process(output, "--tasks", *CACHED)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stderr is not None
        for line in running.stderr:
            lines.append(line)
            if line.startswith("jinabert-onnx: 2/2 "):
                running.send_signal(signal.SIGKILL)
                break
    assert running.returncode == -signal.SIGKILL, "".join(lines)
    return output, stored(output)["BIOSSES"].read_bytes()


@pytest.fixture(scope="module")
def resumed(killed: tuple[Path, bytes], environment: dict[str, str]) -> tuple[Path, Ended]:
    """The same once more, with a task that has no data."""
    output, _ = killed
    return output, run_command(*words(output, "--tasks", *CACHED, MISSING), env=environment)


def test_the_next_run_goes_on_without_repeats(killed, resumed):
    _, left = killed
    output, found = resumed
    kept = [line.split()[2] for line in found.stderr.splitlines() if line.endswith("(kept from an earlier run)")]
    assert kept == ["BIOSSES"]
    assert stored(output)["BIOSSES"].read_bytes() == left
    assert set(stored(output)) == set(CACHED)


def test_a_task_that_fails_stops_no_other_and_is_told(resumed):
    _, found = resumed
    assert found.returncode == 1
    last = found.stderr.splitlines()[-1]
    assert last == f"jinabert-onnx: error: 1 of 3 tasks failed ({MISSING}); run the same command again to resume"
    assert f"3/3 {MISSING} (STS): failed: " in found.stderr


def test_progress_is_a_line_a_task_without_bars_where_no_terminal_is(resumed):
    _, found = resumed
    of_datasets = ("latest cached", "Using the latest")
    lines = [line for line in found.stderr.splitlines() if not any(word in line for word in of_datasets)]
    assert all(line.startswith("jinabert-onnx: ") for line in lines), found.stderr
    assert "\r" not in found.stderr


def test_the_table_has_each_score_beside_the_cards(resumed):
    output, found = resumed
    rows = {line.split()[0]: line.split() for line in found.stdout.splitlines()[1:30]}
    assert set(rows) == set(CARD)
    (scores,) = json.loads(stored(output)["BIOSSES"].read_text("utf-8"))["scores"]["test"]
    ours = 100 * scores["cosine_spearman"]
    difference = f"{ours - CARD['BIOSSES'].score:+.2f}"
    assert rows["BIOSSES"][3:] == ["cosine_spearman", f"{ours:.2f}", "76.91", difference]
    assert rows[MISSING][3:] == ["cosine_spearman", "-", "80.59", "-"]
    assert "not known to be made of that model" in found.stdout


def test_a_result_of_other_data_stands_without_the_cards_score(resumed, tmp_path, capsys):
    output, _ = resumed
    path = stored(output)["BIOSSES"]
    content = json.loads(path.read_text("utf-8")) | {"dataset_revision": "another"}
    place = tmp_path / path.relative_to(output)
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(content), "utf-8")
    assert main(words(tmp_path)) == 0
    shown = capsys.readouterr()
    assert "nothing to run was chosen" in shown.err
    lines = [line.split() for line in shown.out.splitlines() if line.startswith("BIOSSES")]
    assert lines[0][4:] == ["-", "76.91", "-"]
    assert lines[1][1:5] == ["test", "default", "main", "score"]
    assert lines[1][6:] == ["-", "-"]


def test_the_card_names_data_and_metrics_of_the_installed_mteb():
    assert len(CARD) == 29
    for row in CARD.values():
        task = mteb.get_task(row.task)
        assert task.metadata.revision == row.revision
        assert SPLIT in task.eval_splits
        assert list(task.hf_subsets) == [SUBSET]


def chosen(
    names: tuple[str, ...] = (), types: tuple[str, ...] = (), languages: tuple[str, ...] = ()
) -> dict[str, list]:
    """By name, the subsets that would run."""
    return {task.metadata.name: list(task.hf_subsets) for task in choose_tasks(names, types, languages)}


def test_names_types_and_languages_choose_among_mtebs_tasks():
    assert chosen(("STS17", "BIOSSES"), languages=("deu",)) == {"STS17": ["en-de"]}
    assert chosen(tuple(CARD), ("Summarization",)) == {"SummEval": ["default"]}
    found = chosen(types=("STS",), languages=("deu",))
    assert {"GermanSTSBenchmark", "STS17"} <= set(found)
    assert found["STS17"] == ["en-de"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"names": ("BIOSES",)}, "Did you mean: 'BIOSSES'"),
        ({"names": ("BIOSSES",), "types": ("Retrieval",)}, "no mteb task matches"),
        ({"types": ("Nothing",)}, "no mteb task matches"),
        ({"languages": ("de",)}, "'?de'?"),
    ],
)
def test_a_choice_that_cannot_be_run_is_refused(choice, message):
    with pytest.raises(InputError, match=message):
        chosen(**choice)


def test_a_task_of_images_fails_before_it_runs(capsys, tmp_path):
    assert main(words(tmp_path, "--tasks", "CIFAR10")) == 1
    assert "modalit" in capsys.readouterr().err


def test_an_output_that_is_a_file_is_refused(capsys, tmp_path):
    path = tmp_path / "file"
    path.touch()
    assert f"{path}: File exists" in fails(capsys, path)


@pytest.mark.parametrize(("option", "value"), [("--batch-size", "0"), ("--max-length", "2"), ("--max-length", "9000")])
def test_a_number_out_of_range_is_refused(capsys, tmp_path, option, value):
    assert f"is {value}; it must be " in fails(capsys, tmp_path, option, value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ['{"task_name": "Own', "[]", "{}"])
def test_a_damaged_result_is_named_before_anything_runs(capsys, resumed, tmp_path, content):
    output, _ = resumed
    damaged = tmp_path / stored(output)["BIOSSES"].relative_to(output)
    damaged.parent.mkdir(parents=True)
    damaged.write_text(content, "utf-8")
    line = fails(capsys, tmp_path, "--tasks", "BIOSSES")
    assert "BIOSSES.json: is not a result of mteb" in line
    assert "remove it" in line


def test_a_missing_mteb_is_told_with_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['mteb'] = None; from jinabert_onnx.cli import main; "
        f"sys.exit(main({words(tmp_path / 'output')!r}))"
    )
    found = run_python("-c", code)
    assert found.returncode == 1
    assert "pip install 'jinabert-onnx[eval]'" in found.stderr
    assert len(found.stderr.splitlines()) == 1
    assert not (tmp_path / "output").exists()
