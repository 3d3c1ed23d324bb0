"""Which tasks a choice stands for, and what is refused before anything runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jinabert_onnx.cli import main
from jinabert_onnx.errors import InputError
from jinabert_onnx_eval.mteb.card import read_card
from jinabert_onnx_eval.mteb.tasks import Choice, choose_tasks, pins_of, read_own_tasks

BUNDLE = Path(__file__).resolve().parents[2] / "build" / "bundles" / "tiny-de-en"
OWN = Path(__file__).with_name("own_tasks.py")
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "mteb.md"
CARD = read_card()
PINS = pins_of(CARD)


def chosen(own: dict[str, type] | None = None, **choice: object) -> dict[str, tuple[list[str], list[str]]]:
    """By name, the splits and subsets that would run."""
    tasks = choose_tasks(CARD, PINS, Choice(**choice), own or {})
    return {task.metadata.name: (list(task.eval_splits), list(task.hf_subsets)) for task in tasks}


def test_nothing_chosen_is_nothing_run():
    assert chosen() == {}


def test_a_task_of_the_card_runs_the_cards_splits_and_subsets():
    found = chosen(names=("AmazonCounterfactualClassification", "STS17", "XMarket", "BIOSSES"))
    assert found == {
        "AmazonCounterfactualClassification": (["test"], ["en", "de"]),
        "STS17": (["test"], ["en-de", "en-en"]),
        "XMarket": (["test"], ["de"]),
        "BIOSSES": (["test"], ["default"]),
    }


def test_another_task_of_mteb_runs_whole():
    splits, subsets = chosen(names=("STS22.v2",))["STS22.v2"]
    assert splits == ["test"]
    assert len(subsets) > 10


def test_types_and_languages_choose_among_the_cards_tasks():
    found = chosen(types=("STS",), languages=("deu",))
    assert found == {
        "GermanSTSBenchmark": (["test"], ["default"]),
        "STS17": (["test"], ["en-de"]),
        "STS22": (["test"], ["de", "de-en"]),
    }


def test_comparable_keeps_what_the_card_can_be_compared_with():
    found = chosen(comparable=True, types=("STS", "Summarization"))
    assert list(found) == ["BIOSSES", "STS12", "STS13", "STS14", "STS15", "STS16", "STSBenchmark", "SummEval"]
    assert len(chosen(comparable=True)) == 29


def test_own_tasks_run_alone_or_by_name():
    own = read_own_tasks(OWN)
    assert list(chosen(own)) == list(own)
    assert list(chosen(own, names=("OwnSTS", "BIOSSES"))) == ["OwnSTS", "BIOSSES"]
    assert list(chosen(own, types=("Reranking",)))[-1] == "OwnReranking"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"names": ("BIOSES",)}, "Did you mean: 'BIOSSES'"),
        ({"names": ("CIFAR10",)}, "CIFAR10 is a task of image; this model reads text only"),
        ({"names": ("BIOSSES",), "types": ("Retrieval",)}, "no task is left"),
        ({"languages": ("de",)}, "such as deu and eng"),
    ],
)
def test_a_choice_that_cannot_be_run_is_refused(choice, message):
    with pytest.raises(InputError, match=message):
        chosen(**choice)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("x = 1", "defines no task"),
        (
            f"import importlib.util as u\ns = u.spec_from_file_location('o', {str(OWN)!r}); o = u.module_from_spec(s)\n"
            "s.loader.exec_module(o)\n"
            "class STS(o.OwnSTS):\n    metadata = o.OwnSTS.metadata.model_copy(update={'name': 'BIOSSES'})\n",
            "BIOSSES is the name of a task of mteb",
        ),
    ],
)
def test_a_file_of_tasks_that_is_of_no_use_is_refused(tmp_path, content, message):
    path = tmp_path / "tasks.py"
    path.write_text(content, "utf-8")
    with pytest.raises(InputError, match=message):
        read_own_tasks(path)


def test_an_own_class_that_cannot_be_made_is_named(tmp_path):
    path = tmp_path / "tasks.py"
    path.write_text(
        "from mteb.abstasks import AbsTaskSTS\nfrom mteb.abstasks.task_metadata import TaskMetadata\n\n\n"
        "class Broken(AbsTaskSTS):\n"
        "    metadata = TaskMetadata(name='Broken', description='.', dataset={'path': 'a', 'revision': '1'}, "
        "type='STS', eval_splits=['test'], eval_langs=['eng-Latn'], main_score='cosine_spearman')\n\n"
        "    def __init__(self):\n        raise RuntimeError('no data here')\n",
        "utf-8",
    )
    with pytest.raises(InputError, match="Broken: cannot be made: RuntimeError: no data here"):
        chosen(read_own_tasks(path))


def fails(capsys: pytest.CaptureFixture[str], output: Path, *more: str) -> str:
    """The one line of an error of the command."""
    assert main(["eval", "mteb", str(BUNDLE), "--output", str(output), "--local-files-only", *more]) == 1
    return capsys.readouterr().err.splitlines()[-1]


def test_an_output_that_is_a_file_is_refused(capsys, tmp_path):
    path = tmp_path / "file"
    path.touch()
    assert "is not a directory; give --output the name of one" in fails(capsys, path)


@pytest.mark.parametrize(("option", "value"), [("--batch-size", "0"), ("--max-length", "2"), ("--max-length", "9000")])
def test_a_number_out_of_range_is_refused(capsys, tmp_path, option, value):
    assert f"is {value}; it must be " in fails(capsys, tmp_path, "--own", str(OWN), option, value)
    assert not list(tmp_path.iterdir())


def test_a_file_of_tasks_that_is_missing_is_named(capsys, tmp_path):
    assert "missing.py: is no Python file" in fails(capsys, tmp_path, "--own", str(tmp_path / "missing.py"))


@pytest.mark.parametrize("content", ['{"task_name": "Own', "[]", "{}"])
def test_a_damaged_result_is_named_before_anything_runs(capsys, tmp_path, content):
    assert main(["eval", "mteb", str(BUNDLE), "--output", str(tmp_path)]) == 0
    (report,) = tmp_path.glob("report-*.json")
    revision = json.loads(report.read_text("utf-8"))["fingerprint"].replace(":", "-")
    damaged = tmp_path / "results" / "jinabert-onnx__tiny-de-en" / revision / "OwnSTS.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text(content, "utf-8")
    line = fails(capsys, tmp_path, "--own", str(OWN))
    assert "OwnSTS.json: is no result of mteb" in line
    assert "remove it" in line


FAILING = """
import os, importlib.util as u
s = u.spec_from_file_location("own", {own!r}); own = u.module_from_spec(s); s.loader.exec_module(own)

class Halves(own.AbsTaskSTS):
    metadata = own.metadata("Halves", "STS", "cosine_spearman", {{"one": ["eng-Latn"], "two": ["deu-Latn"]}})
    min_score, max_score = 0, 5

    def load_data(self, **_):
        whole = own.OwnSTS(); whole.load_data()
        other = whole.dataset if os.path.exists({marker!r}) else whole.dataset.remove_columns("score")
        self.dataset = {{"one": whole.dataset, "two": other}}
        self.data_loaded = True

class Good(own.OwnSTS):
    metadata = own.metadata("Good", "STS", "cosine_spearman")
"""


def test_a_task_that_fails_keeps_its_finished_subsets_and_stops_no_other(capsys, tmp_path):
    tasks, marker, output = tmp_path / "tasks.py", tmp_path / "marker", tmp_path / "output"
    tasks.write_text(FAILING.format(own=str(OWN), marker=str(marker)), "utf-8")
    line = fails(capsys, output, "--own", str(tasks))
    assert "1 of 2 tasks failed (Halves): " in line
    assert "score" in line
    assert "run the same again to go on" in line

    (path,) = output.glob("results/*/*/Halves.json")
    first = json.loads(path.read_text("utf-8"))["scores"]["test"]
    assert [scores["hf_subset"] for scores in first] == ["one"]
    assert list(output.glob("results/*/*/Good.json"))

    marker.touch()
    assert main(["eval", "mteb", str(BUNDLE), "--output", str(output), "--own", str(tasks)]) == 0
    assert "Good (STS): cosine_spearman" in capsys.readouterr().err
    both = json.loads(path.read_text("utf-8"))["scores"]["test"]
    assert [scores["hf_subset"] for scores in both] == ["one", "two"]
    assert both[0] == first[0]


REVISED = """
import importlib.util as u
s = u.spec_from_file_location("own", {own!r}); own = u.module_from_spec(s); s.loader.exec_module(own)

class Revised(own.OwnSTS):
    metadata = own.metadata("Revised", "STS", "cosine_spearman").model_copy(
        update={{"dataset": {{"path": "local/heldout", "revision": {revision!r}}}}}
    )
"""


def test_data_of_another_revision_are_run_again(capsys, tmp_path):
    tasks, output = tmp_path / "tasks.py", tmp_path / "output"
    for revision, kept in (("1", False), ("1", True), ("2", False), ("2", True)):
        tasks.write_text(REVISED.format(own=str(OWN), revision=revision), "utf-8")
        assert main(["eval", "mteb", str(BUNDLE), "--output", str(output), "--own", str(tasks)]) == 0
        assert ("kept from an earlier run" in capsys.readouterr().err) == kept
        (path,) = output.glob("results/*/*/Revised.json")
        assert json.loads(path.read_text("utf-8"))["dataset_revision"] == revision


def test_the_task_in_the_guide_runs(capsys, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text("utf-8"), re.M | re.S)
    (block,) = [block for block in blocks if "class Support" in block]
    tasks = tmp_path / "support.py"
    tasks.write_text(block, "utf-8")
    assert main(["eval", "mteb", str(BUNDLE), "--output", str(tmp_path / "scores"), "--own", str(tasks)]) == 0
    assert "Support (STS): cosine_spearman" in capsys.readouterr().err


def test_help_loads_neither_mteb_nor_torch():
    code = (
        "import sys; from jinabert_onnx_eval.commands import mteb; "
        "print(sorted({'mteb', 'torch', 'datasets'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_a_missing_mteb_is_told_with_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['mteb'] = None; from jinabert_onnx.cli import main; "
        f"sys.exit(main(['eval', 'mteb', {str(BUNDLE)!r}, '--output', {str(tmp_path / 'output')!r}]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 1
    assert "pip install 'jinabert-onnx[eval]'" in found.stderr
    assert len(found.stderr.splitlines()) == 1
    assert not (tmp_path / "output").exists()
