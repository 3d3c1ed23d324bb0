"""What a command is, the options that several share, and where the exporter's are found."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from jinabert_onnx.bundle.integrity import INTEGRITY
from jinabert_onnx.bundle.manifest import PRECISIONS
from jinabert_onnx.embedder import Embedder
from jinabert_onnx.encoding.load_options import LoadOptions
from jinabert_onnx.engine.kernels import KERNELS, KERNELS_VARIABLE
from jinabert_onnx.engine.providers import PROVIDERS
from jinabert_onnx.errors import MissingDependencyError


@dataclass(frozen=True)
class Command:
    """A subcommand: one line of help, its arguments, and what it does; `run` returns the exit code."""

    help: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]


def exporter_entry_points() -> dict[str, EntryPoint]:
    """Return what the exporter registers, by name, not loaded."""
    return {point.name: point for point in entry_points(group="jinabert_onnx.commands")}


def load_exporter(name: str) -> object:
    """Load one of the exporter's entry points.

    Raises:
        MissingDependencyError: it is not installed, or its dependencies are not.
    """
    try:
        return exporter_entry_points()[name].load()
    except (KeyError, ImportError) as error:
        missing = f" ({error})" if isinstance(error, ImportError) else ""
        raise MissingDependencyError(
            f"this needs the exporter{missing}; install it: pip install 'jinabert-onnx[cpu,export]'"
        ) from error


_MODEL = "directory of a bundle, or the hub id (owner/name) of one"


def add_model_argument(parser: ArgumentParser) -> None:
    """Add MODEL, --revision and --local-files-only."""
    parser.add_argument("model", metavar="MODEL", help=_MODEL)
    _add_hub_options(parser)


def add_models_argument(parser: ArgumentParser, variable: str) -> None:
    """Add MODEL, which may be several, or none where the variable `variable` names one, and what goes with it."""
    named = os.environ.get(variable)
    default = [named] if named else []
    parser.add_argument(
        "models", metavar="MODEL", nargs="*", default=default, help=f"{_MODEL}; may be several (or ${variable})"
    )
    _add_hub_options(parser)


def _add_hub_options(parser: ArgumentParser) -> None:
    parser.add_argument("--revision", help="branch, tag or commit, for a hub id")
    parser.add_argument("--local-files-only", action="store_true", help="use only files that are already downloaded")


def add_runtime_options(
    parser: ArgumentParser,
    precision: str = LoadOptions.precision,
    memory_help: str = "memory limit of the process, such as 800MB",
) -> None:
    """Add --precision (default `precision`), what `add_provider_options` adds, and how the model is checked.

    `memory_help` says what --max-memory counts.
    """
    parser.add_argument(
        "--precision",
        choices=("auto", *PRECISIONS),
        default=precision,
        help="precision to run; auto: the one that suits this machine (default: %(default)s)",
    )
    add_provider_options(parser)
    add_kernels_option(parser)
    parser.add_argument("--max-memory", metavar="SIZE", help=memory_help)
    parser.add_argument(
        "--integrity",
        choices=INTEGRITY,
        default=LoadOptions.integrity,
        help="full: hash every file; fast: hash once, then check sizes and headers; off: trust the files "
        "(default: %(default)s)",
    )
    parser.add_argument("--no-self-test", action="store_true", help="do not compare with results from the export")


def add_provider_options(parser: ArgumentParser) -> None:
    """Add --provider and --threads."""
    parser.add_argument(
        "--provider",
        choices=PROVIDERS,
        default=LoadOptions.provider,
        help="where to run; cuda never falls back to cpu (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=_threads,
        default=LoadOptions.threads,
        metavar="N",
        help="CPU threads (default: as many as affinity, container and environment allow)",
    )


def add_kernels_option(parser: ArgumentParser) -> None:
    """Add --kernels."""
    parser.add_argument(
        "--kernels",
        choices=KERNELS,
        default=LoadOptions.kernels,
        help="native kernels of jinabert-onnx-kernels; auto: use them if they are installed and fit "
        f"(or as ${KERNELS_VARIABLE} says), require: refuse to load without them (default: %(default)s)",
    )


def load_embedder(arguments: Namespace) -> Embedder:
    """Load the model that the arguments of `add_model_argument` and `add_runtime_options` name."""
    return Embedder.load(arguments.model, **vars(load_options(arguments)))


def load_options(arguments: Namespace) -> LoadOptions:
    """Return what these arguments say of loading."""
    return LoadOptions(
        precision=arguments.precision,
        provider=arguments.provider,
        threads=arguments.threads,
        max_memory=arguments.max_memory,
        integrity=arguments.integrity,
        self_test=not arguments.no_self_test,
        revision=arguments.revision,
        local_files_only=arguments.local_files_only,
        kernels=arguments.kernels,
    )


def _threads(text: str) -> int | str:
    if text != "auto" and not text.lstrip("-").isdecimal():
        raise ArgumentTypeError(f"{text!r} is neither a number nor 'auto'")
    return text if text == "auto" else int(text)
