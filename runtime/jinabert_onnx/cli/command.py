"""What a command is, the options that several share, and where the exporter's are found."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from jinabert_onnx.bundle import PRECISIONS
from jinabert_onnx.embedder import Embedder
from jinabert_onnx.errors import MissingDependencyError
from jinabert_onnx.providers import PROVIDERS


@dataclass(frozen=True)
class Command:
    """A subcommand: one line of help, its arguments, and what it does; `run` returns the exit code."""

    help: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]


def exporter_entry_points() -> dict[str, EntryPoint]:
    """What the exporter registers, by name, not loaded."""
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


def add_model_argument(parser: ArgumentParser) -> None:
    """MODEL and --revision."""
    parser.add_argument("model", metavar="MODEL", help="directory of a bundle, or the hub id (owner/name) of one")
    parser.add_argument("--revision", help="branch, tag or commit, for a hub id")


def add_runtime_options(parser: ArgumentParser) -> None:
    """--precision, --provider and --threads."""
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="weights to run (default: %(default)s)")
    add_provider_options(parser)


def add_provider_options(parser: ArgumentParser) -> None:
    """--provider and --threads."""
    parser.add_argument(
        "--provider", choices=PROVIDERS, default="auto", help="where to run; cuda never falls back (default: auto)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all this process may use)")


def load_embedder(arguments: Namespace) -> Embedder:
    """The model that the arguments of `add_model_argument` and `add_runtime_options` name."""
    return Embedder.load(
        arguments.model,
        precision=arguments.precision,
        provider=arguments.provider,
        threads=arguments.threads,
        revision=arguments.revision,
    )
