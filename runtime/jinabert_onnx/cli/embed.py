"""`jinabert-onnx embed`: texts in, vectors out, as JSON lines, numbers, a .npy file or Parquet.

A few texts are read whole and answered at once. A file whose vectors go to .npy or Parquet, and any file with columns,
is a corpus: that is `jinabert_onnx.corpus`, loaded only then.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jinabert_onnx.bundle.fingerprint import Fingerprint
from jinabert_onnx.encoding.options import DEFAULTS
from jinabert_onnx.encoding.results import Embeddings
from jinabert_onnx.encoding.settings import TRUNCATIONS
from jinabert_onnx.encoding.vector_types import OUTPUT_DTYPES
from jinabert_onnx.errors import InputError, printable

from .command import Command, add_model_argument, add_runtime_options, load_embedder, load_options
from .places import check_places, open_output
from .texts import read_texts

FORMATS = ("jsonl", "text", "npy", "parquet")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="texts to embed")
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="read texts from FILE instead: .parquet, .arrow, .feather, .jsonl, .csv, .tsv, a directory of such files, "
        "or any other name, with one text per line, in UTF-8; - is stdin",
    )
    parser.add_argument("--output", metavar="FILE", help="write to FILE instead of stdout")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help='jsonl: one {"text", "embedding", "fingerprint"} per line; text: one line of numbers per text; npy: a '
        "NumPy array; parquet: columns row and embedding (default: from the extension of --output, otherwise jsonl)",
    )
    parser.add_argument(
        "--text-column", metavar="NAME", help="column that has the texts, in files with columns (default: text)"
    )
    parser.add_argument(
        "--keep", nargs="+", default=[], metavar="COLUMN", help="columns of the input to copy into Parquet output"
    )
    parser.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="in a directory, leave out broken links, pipes and unreadable files, and name them",
    )
    parser.add_argument(
        "--shard-rows",
        type=int,
        default=1024,
        metavar="N",
        help="rows per shard when a file is embedded to .npy or .parquet: after an interruption, the same command "
        "resumes after the last finished shard (default: %(default)s)",
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where to embed a file: on this machine, or on a Ray cluster (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=DEFAULTS["batch_size"],
        metavar="N",
        help="maximum number of texts per batch (default: %(default)s)",
    )
    parser.add_argument(
        "--max-length", type=int, metavar="N", help="maximum number of tokens per text (default: the model's limit)"
    )
    parser.add_argument(
        "--truncation",
        choices=TRUNCATIONS,
        default=DEFAULTS["truncation"],
        help="what to do with longer texts: keep the head (with a warning or without) or the tail, average windows "
        "over the whole text (mean), or refuse (default: %(default)s)",
    )
    parser.add_argument("--truncate-dim", type=int, metavar="N", help="keep the first N channels")
    parser.add_argument("--normalize", action="store_true", help="scale vectors to length 1")
    parser.add_argument(
        "--output-dtype",
        choices=OUTPUT_DTYPES,
        default=DEFAULTS["output_dtype"],
        help="type of the numbers (default: %(default)s)",
    )
    add_runtime_options(parser)


def _run(arguments: argparse.Namespace) -> int:
    check_places(None if arguments.texts else arguments.input, arguments.output)
    kind = arguments.format or _format_of(arguments.output)
    if _is_corpus(arguments, kind):
        return _run_corpus(arguments, kind)
    if arguments.output is None and kind == "npy" and sys.stdout.isatty():
        raise InputError("npy is binary and stdout is a terminal; give --output FILE")
    texts = read_texts(arguments.texts, arguments.input)
    with load_embedder(arguments) as model:
        if arguments.precision == "auto":
            print(f"jinabert-onnx: {model.precision}: {model.precision_reason}", file=sys.stderr)
        embeddings = model.encode_with_report(
            texts,
            batch_size=arguments.batch_size,
            max_length=arguments.max_length,
            truncation=arguments.truncation,
            truncate_dim=arguments.truncate_dim,
            output_dtype=arguments.output_dtype,
            normalize_embeddings=arguments.normalize,
        )
    with open_output(arguments.output) as stream:
        _write(stream, kind, texts, embeddings)
    if kind != "jsonl" and arguments.output is not None:  # these have no place for it
        print(f"jinabert-onnx: fingerprint of {arguments.output}: {embeddings.fingerprint}", file=sys.stderr)
    return 0


def _is_corpus(arguments: argparse.Namespace, kind: str) -> bool:
    """Whether the input is a file, or several, that is worked on shard by shard.

    Raises:
        InputError: it would have to be, and cannot.
    """
    source, output = arguments.input, arguments.output
    is_file = source not in (None, "-") and not arguments.texts
    has_columns = is_file and _has_columns(Path(source))
    wanted = kind == "parquet" or arguments.keep or arguments.text_column is not None or arguments.engine != "local"
    special = [place for place in (source if is_file else None, output) if place and _is_special(Path(place))]
    if special and (wanted or has_columns):
        raise InputError(
            f"{special[0]}: is a pipe or a device, which can be neither read twice nor replaced; name a file"
        )
    if is_file and not special and kind in ("npy", "parquet") and output is not None:
        return True
    if has_columns:
        raise InputError(f"{source}: vectors of such files go to Parquet or .npy; give --output FILE.parquet")
    if wanted:
        raise InputError(
            "parquet, --text-column, --keep and --engine ray are for files; give --input FILE and --output FILE.parquet"
        )
    return False


def _is_special(path: Path) -> bool:
    """Whether there is something at `path` that is neither a file nor a directory."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _has_columns(source: Path) -> bool:
    from jinabert_onnx.corpus.planning import has_columns

    return source.is_dir() or has_columns(source)


def _run_corpus(arguments: argparse.Namespace, kind: str) -> int:
    from jinabert_onnx.corpus.plan import EncodeArguments, ModelSource
    from jinabert_onnx.corpus.run import Job, run

    asked = EncodeArguments(
        max_length=arguments.max_length,
        batch_size=arguments.batch_size,
        truncation=arguments.truncation,
        truncate_dim=arguments.truncate_dim,
        normalize=arguments.normalize,
        output_dtype=arguments.output_dtype,
    )
    job = Job(
        input=Path(arguments.input),
        output=Path(arguments.output),
        kind=kind,
        model=ModelSource(arguments.model, load_options(arguments)),
        text_column=arguments.text_column,
        keep=tuple(arguments.keep),
        settings=asked,
        shard_rows=arguments.shard_rows,
        engine=arguments.engine,
        skip_unreadable=arguments.skip_unreadable,
    )
    run(job, lambda line: print(f"jinabert-onnx: {printable(line)}", file=sys.stderr))
    return 0


def _format_of(output: str | None) -> str:
    if output is None:
        return "jsonl"
    endings = {".npy": "npy", ".parquet": "parquet", ".jsonl": "jsonl", ".txt": "text", ".tsv": "text"}
    ending = Path(output).suffix
    if ending not in endings:
        raise InputError(f"{output}: its extension does not say what to write; give --format {' or '.join(FORMATS)}")
    return endings[ending]


def _write(stream: BinaryIO, kind: str, texts: Sequence[str], embeddings: Embeddings) -> None:
    if kind == "npy":
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(embeddings.vectors))
        stream.write(np.ascontiguousarray(embeddings.vectors).data)
        return
    for text, vector in zip(texts, embeddings.vectors, strict=True):
        # str of a float32 is the shortest number that reads back as the same float32.
        numbers = [str(value) for value in vector]
        line = " ".join(numbers) if kind == "text" else _json_line(text, numbers, embeddings.fingerprint)
        stream.write(line.encode("utf-8") + b"\n")


def _json_line(text: str, numbers: Sequence[str], fingerprint: Fingerprint) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return f'{{"text": {quoted}, "embedding": [{", ".join(numbers)}], "fingerprint": "{fingerprint}"}}'


COMMAND = Command("turn texts into vectors", _add_arguments, _run)
