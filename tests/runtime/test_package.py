"""What importing loads, what is public, and what is said when a dependency is missing."""

from __future__ import annotations

import importlib.util

import jinabert_onnx
import pytest
from jinabert_onnx import errors
from support.paths import TRAINED
from support.python import run_command, run_python

HEAVY = ("torch", "transformers", "onnx", "onnxscript", "safetensors", "optimum")


def test_these_tests_run_without_torch_onnx_or_transformers() -> None:
    installed = [name for name in HEAVY if importlib.util.find_spec(name) is not None]
    assert installed == []


def test_importing_loads_none_of_the_heavy_packages() -> None:
    result = run_python(
        "-c", "import jinabert_onnx, sys; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    )
    loaded = set(result.stdout.split())
    assert "jinabert_onnx" in loaded
    assert loaded.isdisjoint({*HEAVY, "huggingface_hub", "jinabert_onnx_export", "onnxruntime"})


def test_running_a_local_bundle_loads_none_of_the_heavy_packages() -> None:
    code = (
        "import sys; from jinabert_onnx import Embedder; Embedder.load(sys.argv[1]).encode('a');"
        "print(*sorted(name.partition('.')[0] for name in sys.modules))"
    )
    loaded = set(run_python("-c", code, TRAINED).stdout.split())
    assert "onnxruntime" in loaded
    assert loaded.isdisjoint({*HEAVY, "huggingface_hub", "jinabert_onnx_export"})


def test_all_names_exist_and_are_all_there_is() -> None:
    public = {name for name in dir(jinabert_onnx) if not name.startswith("_")}
    modules = {name for name in public if isinstance(getattr(jinabert_onnx, name), type(jinabert_onnx))}
    assert set(jinabert_onnx.__all__) == (public - modules) | {"__version__"}
    assert jinabert_onnx.__all__ == sorted(
        jinabert_onnx.__all__, key=lambda name: (name[0].islower() or name[0] == "_", name)
    )


def test_what_an_embedding_model_does_not_need_is_imported_when_it_is_asked_for() -> None:
    result = run_python(
        "-c",
        "import jinabert_onnx, sys; before = set(sys.modules); from jinabert_onnx import CrossEncoder, RankedDocument;"
        "print(*before, ',', *set(sys.modules) - before)",
    )
    before, after = (set(names.split()) for names in result.stdout.split(","))
    for module in ("cross_encoder", "scoring.results", "scoring.ranking"):
        assert f"jinabert_onnx.{module}" not in before
        assert f"jinabert_onnx.{module}" in after


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'jinabert_onnx' has no attribute 'Encoder'"):
        jinabert_onnx.Encoder  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", [name for name in vars(errors) if name.endswith("Error")])
def test_every_error_is_ours_and_a_built_in_kind(name: str) -> None:
    error = vars(errors)[name]
    assert issubclass(error, errors.JinaBertError)
    built_in = [base for base in error.__mro__ if base.__module__ == "builtins"]
    assert name == "JinaBertError" or built_in[0] is not Exception


def test_without_onnxruntime_the_first_use_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from jinabert_onnx.cli import main; sys.exit(main(['embed', sys.argv[1], 'text']))"
    )
    result = run_python("-c", code, str(TRAINED))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "pip install 'jinabert-onnx[cpu]'" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["export", "x", "y"], ["demo", "x"], ["verify", "BUNDLE", "--against", "checkpoint"]]
)
def test_without_torch_the_exporters_commands_say_what_to_install(arguments: list[str]) -> None:
    result = run_command(*(TRAINED if argument == "BUNDLE" else argument for argument in arguments))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "pip install 'jinabert-onnx[cpu,export]'" in result.stderr
