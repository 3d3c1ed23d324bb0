"""`jinabert-onnx eval REPORT MODEL`: one subcommand a report, each in a module of its own.

Importing this module loads neither torch nor mteb, so that help is quick. Knows nothing of what a report measures.
"""

from __future__ import annotations

import argparse
from types import ModuleType

from jinabert_onnx.cli.command import Command

from .commands import languages, long, mteb, precisions, retrieval

_REPORTS: dict[str, ModuleType] = {
    "mteb": mteb,
    "precisions": precisions,
    "languages": languages,
    "retrieval": retrieval,
    "long": long,
}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    reports = parser.add_subparsers(dest="report", metavar="REPORT", required=True)
    for name, module in _REPORTS.items():
        subparser = reports.add_parser(name, help=module.HELP, description=f"{module.HELP}.")
        module.add_arguments(subparser)


def _run(arguments: argparse.Namespace) -> int:
    return int(_REPORTS[arguments.report].run(arguments))


EVAL = Command("measure how good a bundle's vectors are", _add_arguments, _run)
