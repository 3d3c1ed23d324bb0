"""No quote of a CSV file swallows rows in silence, and rows in are rows out and rows set aside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import TEXTS, corpus, embed, killed, refused, rejected, write
from jinabert_onnx import Embedder, InputError
from jinabert_onnx.corpus import lines
from support.bundles import edit_json

NAMES = ("id", "text")


def numbered(path: Path, changes: dict[int, str], rows: int = 1000) -> Path:
    """A CSV file with a header and `rows` lines, of which some are changed."""
    found = [changes.get(number, f"{number},text {number}") for number in range(1, rows + 1)]
    path.write_text("\n".join(("id,text", *found, "")))
    return path


@pytest.mark.parametrize(
    ("changes", "line", "words"),
    [
        ({500: '500,"bad quote'}, 501, "is not closed within 200 lines"),
        ({850: '850,"bad quote'}, 851, "is never closed"),
        ({1000: '1000,"bad quote'}, 1001, "is never closed"),
        ({500: '500,"bad quote', 520: '520,"good quote"'}, 501, "takes in lines that cannot be read as CSV"),
        ({300: '300,"two\nlines"', 500: '"500","bad'}, 502, "is not closed within 200 lines"),
        ({500: '"5\n00","bad quote'}, 501, "is not closed within 200 lines"),
        ({1: '"1,bad quote'}, 2, "is not closed within 200 lines"),
    ],
)
def test_a_quote_that_swallows_rows_is_an_error_that_names_its_line(
    changes: dict[int, str], line: int, words: str, tmp_path: Path
) -> None:
    source = numbered(tmp_path / "rows.csv", changes)
    message = refused(source, tmp_path / "out.parquet")
    assert f"rows.csv: a quote of the row that begins in line {line} {words}" in message


def test_a_quote_in_the_header_that_swallows_rows_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('id,"text\n1,one\n')
    with pytest.raises(InputError, match="a quote of the row that begins in line 1 is never closed"):
        lines.header_of(tmp_path / "rows.csv", "csv")


@pytest.mark.parametrize("after", ["", '3,"three"\n', "3,three\n" * 100])
def test_a_line_too_long_to_look_for_the_end_of_a_quote_is_named(
    after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LARGEST_ROW", 32)
    path = tmp_path / "rows.csv"
    path.write_text(f'id,text\n1,"one\n{"x" * 40}"\n2,two\n{after}')
    with pytest.raises(InputError, match=r"begins in line 2 is not closed before line 3, which is longer than 0 MiB;"):
        list(lines.read(path, "csv", 0, path.stat().st_size, 0, "text", NAMES))


def test_a_row_of_two_hundred_lines_is_read_and_one_of_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    fields = ['"' + "a\n" * count + 'b"' for count in (99, 100, 101)]
    path.write_text(f"id,text\n{fields[0]},{fields[1]}\n")
    (row,) = lines.read(path, "csv", 0, path.stat().st_size, 0, "text", NAMES)
    assert row.kept == (fields[0].strip('"'), fields[1].strip('"'))
    path.write_text(f"id,text\n{fields[0]},{fields[2]}\n")
    with pytest.raises(InputError, match="begins in line 2 is not closed within 200 lines"):
        list(lines.read(path, "csv", 0, path.stat().st_size, 0, "text", NAMES))


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_rows_in_are_told_and_are_rows_out_and_rows_set_aside(ending: str, tmp_path: Path) -> None:
    source, output = write(tmp_path / f"rows{ending}", TEXTS[:20]), tmp_path / "out.parquet"
    result = embed(source, output, "--shard-rows", 7)
    assert "jinabert-onnx: 20 rows in, 20 embedded, 0 set aside\n" in result.stderr
    options = ("--shard-rows", 7, "--truncation", "error", "--max-length", 40)
    result = embed(source, output, *options)
    out, aside = len(pq.read_table(output)), len(rejected(output))
    assert aside > 0
    assert out + aside == 20
    assert f"jinabert-onnx: 20 rows in, {out} embedded, {aside} set aside\n" in result.stderr


def test_rows_of_a_run_that_was_stopped_are_told_by_the_one_that_ends_it(model: Embedder, tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "rows.jsonl"), tmp_path / "out.npy"
    killed(source, output, 2)
    result = embed(source, output, "--shard-rows", 50)
    assert "1200 rows in, 1200 embedded, 0 set aside\n" in result.stderr
    assert len(np.load(output)) == 1200


@pytest.mark.parametrize("name", ["rows", "rejected"])
def test_a_shard_whose_counts_do_not_add_up_is_made_anew(name: str, tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "rows.jsonl"), tmp_path / "out.npy"
    counts = killed(source, output, 2) / "shard-000001.json"
    edit_json(counts, lambda content: content.update({name: content[name] + 1}))
    result = embed(source, output, "--shard-rows", 50)
    assert result.returncode == 1
    assert "is damaged; run the same command again to redo this shard" in result.stderr
    assert embed(source, output, "--shard-rows", 50).returncode == 0
    assert len(np.load(output)) == 1200
