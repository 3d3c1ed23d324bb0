"""`jinabert-onnx rerank`: documents in the order in which they fit a query, as a table or JSON lines."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from unicodedata import east_asian_width

from jinabert_onnx.cross_encoder import CrossEncoder
from jinabert_onnx.encoding.options import BATCH_SIZE
from jinabert_onnx.errors import printable
from jinabert_onnx.scoring.options import MAX_LENGTH, MAX_QUERY_LENGTH, OVERLAP_TOKENS
from jinabert_onnx.scoring.results import RankedDocument

from .command import Command, add_model_argument, add_runtime_options, load_options
from .places import check_places, open_output
from .texts import read_texts

_LEAST_WIDTH = 20  # characters of a document's text that a table shows, however narrow the terminal


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument("query", metavar="QUERY", help="the query that the documents are to fit")
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="documents to order")
    parser.add_argument(
        "--input", metavar="FILE", help="read documents from FILE instead, one per line, in UTF-8; - is stdin"
    )
    parser.add_argument("--output", metavar="FILE", help="write to FILE instead of stdout")
    parser.add_argument(
        "--format",
        choices=("table", "jsonl"),
        default="table",
        help='table: place, index, score and the beginning of the text; jsonl: one {"index", "score", "document"} per '
        "line (default: %(default)s)",
    )
    parser.add_argument("--top-n", type=int, metavar="N", help="show the N best only (default: all)")
    parser.add_argument(
        "--max-length",
        type=int,
        default=MAX_LENGTH,
        metavar="N",
        help="tokens of query and document; longer documents are read in windows, and the best one counts "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--max-query-length",
        type=int,
        default=MAX_QUERY_LENGTH,
        metavar="N",
        help="tokens that the query is cut to, at most half of --max-length (default: %(default)s)",
    )
    parser.add_argument(
        "--overlap-tokens",
        type=int,
        default=OVERLAP_TOKENS,
        metavar="N",
        help="tokens that neighbouring windows share (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=BATCH_SIZE,
        metavar="N",
        help="maximum number of windows per batch (default: %(default)s)",
    )
    add_runtime_options(parser)


def _run(arguments: argparse.Namespace) -> int:
    check_places(None if arguments.texts else arguments.input, arguments.output)
    documents = read_texts(arguments.texts, arguments.input)
    with CrossEncoder.load(arguments.model, **vars(load_options(arguments))) as model:
        if arguments.precision == "auto":
            print(f"jinabert-onnx: {model.precision}: {model.precision_reason}", file=sys.stderr)
        ranked = model.rank(
            arguments.query,
            documents,
            arguments.top_n,
            return_documents=True,
            max_length=arguments.max_length,
            max_query_length=arguments.max_query_length,
            overlap_tokens=arguments.overlap_tokens,
            batch_size=arguments.batch_size,
        )
    lines = map(_json_line, ranked) if arguments.format == "jsonl" else _table(ranked)
    with open_output(arguments.output) as stream:
        for line in lines:
            stream.write(line.rstrip().encode("utf-8", "backslashreplace") + b"\n")
    return 0


def _json_line(ranked: RankedDocument) -> str:
    content = {"index": ranked.index, "score": ranked.score, "document": ranked.document}
    return json.dumps(content, ensure_ascii=False)


def _table(ranked: Sequence[RankedDocument]) -> Iterator[str]:
    """Lay out one line a document, as wide as the terminal: its text is cut."""
    rows = [(str(place), str(each.index), f"{each.score:.4f}") for place, each in enumerate(ranked, start=1)]
    titles = ("place", "index", "score")
    widths = [max(len(cell) for cell in column) for column in zip(titles, *rows, strict=True)]
    room = max(_LEAST_WIDTH, shutil.get_terminal_size().columns - sum(widths) - 2 * len(widths))
    texts = (printable(" ".join((each.document or "").split())) for each in ranked)
    for cells, text in zip((titles, *rows), ("document", *texts), strict=True):
        yield "  ".join([*(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)), _cut(text, room)])


def _cut(text: str, columns: int) -> str:
    """Cut a text to so many columns of a terminal; letters of East Asian scripts take two."""
    beginning = text[: columns + 1]  # more than fits; texts may be long
    ends = list(accumulate(2 if east_asian_width(letter) in "WF" else 1 for letter in beginning))
    if not ends or ends[-1] <= columns:
        return text
    return f"{text[: bisect_right(ends, columns - 1)]}…"


COMMAND = Command("order documents by how well they fit a query", _add_arguments, _run)
