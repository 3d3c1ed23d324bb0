"""Every format in, Parquet and .npy out: the vectors are those of `encode`, and bad rows are set aside."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import TEXTS, embed, refused, rejected, write
from jinabert_onnx import Embedder
from jinabert_onnx.encoding.vector_types import OUTPUT_DTYPES
from support.paths import TRAINED

ENDINGS = (".parquet", ".feather", ".arrow", ".jsonl", ".csv", ".tsv")


def vectors_of(path: Path) -> np.ndarray:
    column = pq.read_table(path).column("embedding").combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_vectors_of_encode(ending: str, precision: str, tmp_path: Path) -> None:
    source, output = write(tmp_path / f"texts{ending}", TEXTS), tmp_path / "out.parquet"
    options = ("--precision", precision, "--shard-rows", 40, "--keep", "id", "text")
    result = embed(source, output, *options)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    table = pq.read_table(output)
    with Embedder.load(TRAINED, precision=precision, threads=1) as model:
        np.testing.assert_allclose(vectors_of(output), model.encode(TEXTS), atol=1e-5)
        assert table.schema.metadata[b"jinabert_onnx.fingerprint"].decode() == str(model.fingerprint)
    assert table.column("row").to_pylist() == list(range(len(TEXTS)))
    assert table.column("text").to_pylist() == TEXTS
    assert [int(number) for number in table.column("id").to_pylist()] == list(range(len(TEXTS)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", source.name]


@pytest.mark.parametrize("output_dtype", OUTPUT_DTYPES)
def test_vectors_of_every_type_are_stored_as_they_are(output_dtype: str, model: Embedder, tmp_path: Path) -> None:
    source = write(tmp_path / "texts.jsonl", TEXTS[:9])
    for name in ("out.parquet", "out.npy"):
        result = embed(source, tmp_path / name, "--output-dtype", output_dtype, "--normalize")
        assert result.returncode == 0, result.stderr
    expected = model.encode(TEXTS[:9], output_dtype=output_dtype, normalize_embeddings=True)
    parquet, npy = vectors_of(tmp_path / "out.parquet"), np.load(tmp_path / "out.npy")
    assert parquet.dtype == npy.dtype == expected.dtype
    np.testing.assert_array_equal(parquet, npy)
    np.testing.assert_allclose(npy.astype(float), expected.astype(float), atol=1e-3 if "float" in output_dtype else 1)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary()])
def test_texts_may_be_large_encoded_or_bytes(kind: pa.DataType, model: Embedder, tmp_path: Path) -> None:
    texts = ["eins", "zwei", "eins"]
    column = pa.array([text.encode() for text in texts] if kind == pa.binary() else texts)
    column = column.dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)
    pq.write_table(pa.table({"body": column}), tmp_path / "texts.parquet")
    options = ("--text-column", "body", "--keep", "body")
    assert embed(tmp_path / "texts.parquet", tmp_path / "out.parquet", *options).returncode == 0
    np.testing.assert_allclose(vectors_of(tmp_path / "out.parquet"), model.encode(texts), atol=1e-5)


def test_a_directory_is_one_corpus_with_rows_numbered_through(model: Embedder, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(3):
        write(folder / f"part-{number}.parquet", TEXTS[number * 30 : number * 30 + 30])
    (folder / "_SUCCESS").write_bytes(b"")
    assert embed(folder, tmp_path / "out.parquet", "--shard-rows", 20).returncode == 0
    np.testing.assert_allclose(vectors_of(tmp_path / "out.parquet"), model.encode(TEXTS[:90]), atol=1e-5)
    assert pq.read_table(tmp_path / "out.parquet").column("row").to_pylist() == list(range(90))


def test_bad_rows_are_set_aside_with_their_number_and_reason(model: Embedder, tmp_path: Path) -> None:
    rows = [b'{"text": "gut"}', b'{"text": null}', b"{", b'{"text": 7}', b'["a"]', b'{"other": 1}', b'{"text": "\xfc"}',
            b'{"text": "\\ud800"}', b"", b'{"text": "auch gut"}']  # fmt: skip
    (tmp_path / "texts.jsonl").write_bytes(b"\n".join(rows))
    result = embed(tmp_path / "texts.jsonl", tmp_path / "out.parquet", "--shard-rows", 3)
    assert result.returncode == 0
    assert "8 of 10 rows were set aside" in result.stderr
    reasons = rejected(tmp_path / "out.parquet")
    words = ["null", "not JSON", "int, not text", "not a JSON object", "no 'text'", "not UTF-8", "surrogate", "empty"]
    assert list(reasons) == list(range(1, 9))
    assert all(word in reason for word, reason in zip(words, reasons.values(), strict=True))
    assert pq.read_table(tmp_path / "out.parquet").column("row").to_pylist() == [0, 9]
    np.testing.assert_allclose(vectors_of(tmp_path / "out.parquet"), model.encode(["gut", "auch gut"]), atol=1e-5)


def test_csv_rows_of_another_width_and_texts_too_long_are_set_aside(tmp_path: Path) -> None:
    content = 'id,text\n1,kurz\n2,zu,viel\n3\n\n4,"zwei\nZeilen ""hier"""\n5,' + "lang " * 50 + '\n6,5" Rohr\n'
    (tmp_path / "texts.csv").write_text(content, encoding="utf-8")
    options = ("--truncation", "error", "--max-length", 30, "--keep", "id", "text", "--shard-rows", 2)
    assert embed(tmp_path / "texts.csv", tmp_path / "out.parquet", *options).returncode == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column("row").to_pylist() == [0, 3, 5]
    assert table.column("text").to_pylist() == ["kurz", 'zwei\nZeilen "hier"', '5" Rohr']
    reasons = rejected(tmp_path / "out.parquet")
    assert reasons[1] == "has 3 fields where the header has 2"
    assert reasons[2] == "has 1 fields where the header has 2"
    assert "more than the limit of 30" in reasons[4]


def test_where_no_row_is_good_there_is_a_list_and_no_output(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text("{\n[]\n")
    result = embed(tmp_path / "texts.jsonl", tmp_path / "out.parquet")
    assert result.returncode == 1
    assert "not one of 2 rows is good" in result.stderr
    assert "2 rows in, 0 embedded, 2 set aside\n" in result.stderr
    assert list(rejected(tmp_path / "out.parquet")) == [0, 1]
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("output", ["out.parquet", "out.npy"])
def test_files_without_rows_give_no_rows(ending: str, output: str, tmp_path: Path) -> None:
    source = write(tmp_path / f"texts{ending}", []) if ending in (".jsonl", ".csv", ".tsv") else tmp_path / f"t{ending}"
    if not source.exists():
        empty = pa.table({"text": pa.array([], pa.string())})
        if ending == ".parquet":
            pq.write_table(empty, source)
        else:
            with pa.OSFile(str(source), "wb") as stream, pa.ipc.new_file(stream, empty.schema) as writer:
                writer.write_table(empty)
    result = embed(source, tmp_path / output)
    assert result.returncode == 0
    assert "0 rows in, 0 embedded, 0 set aside\n" in result.stderr
    found = vectors_of(tmp_path / output) if output.endswith("parquet") else np.load(tmp_path / output)
    assert found.shape == (0, 256)


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("t.csv", b"id,body\n1,x\n", (), "has no column 'text'; its columns are 'id', 'body'"),
        ("t.csv", b"text,text\n1,x\n", (), "two columns 'text'"),
        ("t.csv", b"text,row\n1,x\n", ("--keep", "row"), "the output has a column of that name"),
        ("t.csv", b"text\nx\n", ("--keep", "id"), "has no column 'id'.*--keep"),
        ("t.txt", b"x\n", ("--keep", "id"), "lines of text have none"),
        ("t.parquet", b"PAR1 and no more", (), "cannot be read"),
        ("t.arrow", b"nothing", (), "cannot be read"),
        ("t.jsonl", b'{"text": "x"}', ("--max-length", "1"), "max_length is 1"),
        ("t.jsonl", b'{"text": "x"}', ("--shard-rows", "0"), "shard_rows is 0"),
    ],
)
def test_what_cannot_work_is_said_in_one_line_and_nothing_is_left(
    name: str, content: bytes, options: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    assert re.search(words, refused(tmp_path / name, tmp_path / "out.parquet", *options))


def test_an_empty_file_has_no_header_and_no_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch()
    assert embed(tmp_path / "t.csv", tmp_path / "out.parquet").returncode == 0


def test_columns_go_to_files_that_have_room_for_them(tmp_path: Path) -> None:
    source = write(tmp_path / "t.parquet", ["x"])
    assert "give --output FILE.parquet" in refused(source, tmp_path / "out.jsonl")


def test_the_metadata_tells_how_vectors_were_made(tmp_path: Path) -> None:
    source = write(tmp_path / "t.jsonl", ["x"])
    assert embed(source, tmp_path / "out.parquet", "--truncate-dim", 64, "--normalize").returncode == 0
    schema = pq.read_schema(tmp_path / "out.parquet")
    settings = json.loads(schema.metadata[b"jinabert_onnx.settings"])
    assert (settings["truncate_dim"], settings["normalize"], settings["max_length"]) == (64, True, 8192)
    assert schema.field("embedding").type == pa.list_(pa.float32(), 64)
