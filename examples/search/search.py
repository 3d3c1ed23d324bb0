"""Search a folder of German and English text by meaning, in either language.

    python examples/search/search.py index FOLDER           # its .txt and .md; again later: what has changed
    python examples/search/search.py query "Wie ..."        # --reranker BUNDLE: the best by a cross-encoder

Every document is read whole and pooled passage by passage (late chunking), so that a passage's vector knows what
stands around it. Vectors, passages and the model's fingerprint lie in one DuckDB file; a query is compared with all.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
from jinabert_onnx import CrossEncoder, Embedder, JinaBertError, compatible

PARAGRAPH = re.compile(r"\S(?:(?!\n\s*\n).)*", re.DOTALL)
# The rest of a paragraph, or up to where a sentence, a word or nothing ends, in this order; 600 characters at most.
PASSAGE = re.compile(r"\S(?:(?:.{,598}\S)?(?=\s*\Z)|.{,598}[.!?](?=\s)|.{,598}\S(?=\s)|.{,599})", re.DOTALL)
CANDIDATES = 20  # passages that a reranker reads, unless more are to be shown


@dataclasses.dataclass(frozen=True)
class Hit:
    """A passage that was found, the line of its file that it begins in, and how well it fits the query."""

    file: str
    line: int
    text: str
    score: float


def passages(text: str) -> list[tuple[int, int]]:
    """The (start, end) characters of each passage: a paragraph, or a part of a long one."""
    return [part.span() for found in PARAGRAPH.finditer(text) for part in PASSAGE.finditer(text, *found.span())]


def open_index(path: Path, model: Embedder, new: bool) -> duckdb.DuckDBPyConnection:
    """An index whose vectors can be compared with the model's; made first if `new` and missing, else only read.

    Raises:
        ValueError: it is missing, or has vectors of another space.
        duckdb.Error: it cannot be opened, or is no index of this program.
    """
    if not new and not path.exists():
        raise ValueError(f"there is no index {path}; make it with: search.py index FOLDER")
    database = duckdb.connect(str(path), read_only=not new)
    if new:
        database.execute("CREATE TABLE IF NOT EXISTS space (fingerprint TEXT)")
        database.execute("INSERT INTO space SELECT ? WHERE NOT EXISTS (FROM space)", [str(model.fingerprint)])
        database.execute("CREATE TABLE IF NOT EXISTS files (file TEXT PRIMARY KEY, sha256 TEXT)")
        vector = f"FLOAT[{model.get_sentence_embedding_dimension()}]"
        database.execute(f"CREATE TABLE IF NOT EXISTS passages (file TEXT, line INT, text TEXT, vector {vector})")
    ((fingerprint,),) = database.execute("FROM space").fetchall()
    if not compatible(fingerprint, model):
        database.close()
        raise ValueError(
            f"{path} has vectors of {fingerprint}, this model makes {model.fingerprint}; name another --index"
        )
    return database


def texts_below(folder: Path) -> Iterator[tuple[str, str]]:
    """(file, text) of every .txt and .md that is not hidden; says on stderr whose name or text is not UTF-8."""
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.suffix.lower() in (".txt", ".md") and file.is_file() and not hidden:
            try:
                str(file).encode()  # as it will be stored
                yield str(file), file.read_text("utf-8")
            except UnicodeEncodeError:
                sys.stderr.write(f"left out, its name is not UTF-8: {str(file)!r}\n")
            except UnicodeDecodeError:
                sys.stderr.write(f"left out, not UTF-8: {file}\n")


def update(database: duckdb.DuckDBPyConnection, model: Embedder, folder: Path) -> str:
    """Bring the index up to date with a folder, a file at a time and whole or not at all; tells what was done.

    Raises:
        OSError: a file cannot be read.
    """
    folder = folder.resolve()
    known = dict(database.execute("FROM files WHERE starts_with(file, ?)", [f"{folder}{os.sep}"]).fetchall())
    seen, changed = set(), 0
    for file, text in texts_below(folder):
        seen.add(file)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if known.get(file) != digest:
            chunks = model.encode_chunks(text, passages, normalize_embeddings=True)
            lines = [text.count("\n", 0, start) + 1 for start, _ in chunks.spans]
            parts = [text[start:end] for start, end in chunks.spans]
            rows = [(file, *row) for row in zip(lines, parts, chunks.vectors.tolist(), strict=True)]
            replace(database, file, digest, rows)
            changed += 1
            sys.stderr.write(f"indexed {file}, {len(rows)} passages\n")
    for file in known.keys() - seen:
        replace(database, file, None, [])
    ((total,),) = database.execute("SELECT count(*) FROM passages").fetchall()
    gone = len(known.keys() - seen)
    return f"{changed} files indexed, {len(seen) - changed} unchanged, {gone} removed; {total} passages in the index"


def replace(
    database: duckdb.DuckDBPyConnection, file: str, digest: str | None, rows: Sequence[tuple[object, ...]]
) -> None:
    """Put rows in place of what the index has of a file, in one transaction; without a digest the file is forgotten."""
    database.begin()
    database.execute("DELETE FROM passages WHERE file = ?", [file])
    if rows:
        database.executemany("INSERT INTO passages VALUES (?, ?, ?, ?)", rows)
    if digest is None:
        database.execute("DELETE FROM files WHERE file = ?", [file])
    else:
        database.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", [file, digest])
    database.commit()


def search(database: duckdb.DuckDBPyConnection, model: Embedder, query: str, top: int) -> list[Hit]:
    """The passages that are nearest to the query, the nearest first."""
    vector = model.encode_query([query])[0].tolist()
    score = f"array_cosine_similarity(vector, ?::FLOAT[{len(vector)}])"
    found = database.execute(f"SELECT file, line, text, {score} AS score FROM passages ORDER BY score DESC LIMIT ?",
                             [vector, top])  # fmt: skip
    return [Hit(*row) for row in found.fetchall()]


def rerank(bundle: str, query: str, hits: Sequence[Hit], top: int) -> list[Hit]:
    """The best of the hits, the best first, by a cross-encoder, which reads query and passage together."""
    with CrossEncoder.load(bundle, precision="auto") as reranker:
        ranked = reranker.rank(query, [hit.text for hit in hits], top_n=top)
    return [dataclasses.replace(hits[found.index], score=found.score) for found in ranked]


def show(hit: Hit) -> str:
    """Score, place and passage, for a terminal."""
    words = "".join(letter for letter in " ".join(hit.text.split()) if letter.isprintable())
    passage = textwrap.fill(words, 88, max_lines=4, placeholder=" …", initial_indent=" " * 7, subsequent_indent=" " * 7)
    return f"{hit.score:.3f}  {os.path.relpath(hit.file)}:{hit.line}\n{passage}\n"


def main() -> None:
    """Read the command line, and print results or one line that says what is wrong."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--model", default="bundle", help="directory or hub id of a bundle (default: bundle)")
    options.add_argument("--index", type=Path, default=Path("search.duckdb"), help="its file (default: search.duckdb)")
    parser = argparse.ArgumentParser(description="Search a folder of text by meaning.")
    commands = parser.add_subparsers(dest="command", required=True)
    index = commands.add_parser("index", parents=[options], help="read a folder, or what has changed in it")
    index.add_argument("folder", type=Path)
    query = commands.add_parser("query", parents=[options], help="find passages")
    query.add_argument("words", help="a question or a phrase, in German or English")
    query.add_argument("--top", type=int, default=5, help="passages to show (default: 5)")
    query.add_argument("--reranker", help=f"directory or hub id of a cross-encoder: orders the best {CANDIDATES} anew")
    asked = parser.parse_args()
    try:
        if asked.command == "index" and not asked.folder.is_dir():
            raise ValueError(f"there is no folder {asked.folder}")
        with (
            Embedder.load(asked.model, precision="auto") as model,
            open_index(asked.index, model, new=asked.command == "index") as database,
        ):
            if asked.command == "index":
                print(update(database, model, asked.folder))
            else:
                wanted = max(asked.top, CANDIDATES) if asked.reranker else asked.top
                hits = search(database, model, asked.words, wanted)
                if asked.reranker:
                    hits = rerank(asked.reranker, asked.words, hits, asked.top)
                print("\n".join(map(show, hits)), end="")
    except (JinaBertError, duckdb.Error, OSError, ValueError) as error:
        sys.exit(f"error: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main()
