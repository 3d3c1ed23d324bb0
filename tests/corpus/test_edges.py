"""What must never become a wrong vector in silence: stale or damaged parts, inputs that change, odd CSV and columns."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import TEXTS, corpus, embed, killed, refused, write
from jinabert_onnx import Embedder, InputError, InputTypeError, StateError
from jinabert_onnx.corpus import lines, parts, planning
from jinabert_onnx.corpus.plan import EncodeArguments, Plan, Shard, differences, from_json, to_json
from jinabert_onnx.corpus.shards import embed_shard, missing, require_model


def planned(source: Path, model: Embedder, shard_rows: int, output: str = "npy") -> tuple[Plan, list[Shard]]:
    sources, kind = planning.find_sources(source)
    shards = planning.plan_shards(sources, kind, shard_rows, whole_text=False)
    length = model.max_seq_length
    rows = sum(shard.rows for shard in shards)
    width = model.get_sentence_embedding_dimension()
    named = (tuple(sources), kind, "text", (), output, EncodeArguments(length), "tiny", str(model.fingerprint))
    return Plan(*named, width, shard_rows, rows), shards


def test_shards_of_another_plan_are_not_taken_for_ones_of_this(model: Embedder, tmp_path: Path) -> None:
    plan, shards = planned(write(tmp_path / "a.jsonl", TEXTS[:8]), model, 4)
    with parts.taken(tmp_path / "out.npy") as directory:
        for shard in shards:
            embed_shard(plan, shard, model, directory)
        assert missing(plan, shards, directory) == []
        other, _ = planned(write(tmp_path / "b.jsonl", TEXTS[8:16]), model, 4)
        assert missing(other, shards, directory) == shards
        assert missing(replace(plan, prompt="query: "), shards, directory) == shards
        assert missing(replace(plan, layers="avx2"), shards, directory) == shards


def test_layers_of_other_kernels_are_refused_and_told(model: Embedder, tmp_path: Path) -> None:
    plan, _ = planned(write(tmp_path / "a.jsonl", TEXTS[:8]), model, 4)
    plan = replace(plan, attention=model.kernels.attention)
    require_model(plan, model)
    other = replace(plan, layers="of another kind")
    assert differences(plan, other) == ["layers was 'portable' and is 'of another kind'"]
    with pytest.raises(InputError, match="its layers are computed by other kernels: portable, not of another kind"):
        require_model(other, model)


def test_work_of_a_version_that_knew_no_native_layers_goes_on(model: Embedder, tmp_path: Path) -> None:
    plan, shards = planned(write(tmp_path / "a.jsonl", TEXTS[:8]), model, 4)
    content = json.loads(to_json(plan, shards))
    del content["plan"]["layers"]
    digest = hashlib.sha256(json.dumps(content["plan"], sort_keys=True).encode()).hexdigest()[:16]
    kept, _ = from_json(json.dumps(content))
    assert (kept, kept.digest) == (plan, digest)


def test_what_a_kill_in_the_end_left_is_in_no_other_output(model: Embedder, tmp_path: Path) -> None:
    parts = killed(corpus(tmp_path / "texts.jsonl"), tmp_path / "out.npy", 3)
    (parts / "plan.json").unlink()  # the first step of removing parts
    source = write(tmp_path / "others.jsonl", TEXTS)
    assert embed(source, tmp_path / "out.npy", "--shard-rows", 50).returncode == 0
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model.encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_a_damaged_shard_is_one_line_and_made_anew(kind: str, tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "texts.jsonl"), tmp_path / f"out.{kind}"
    (killed(source, output, 3) / f"shard-000001.{kind}").write_bytes(b"")
    result = embed(source, output, "--shard-rows", 50)
    assert result.returncode == 1
    assert "is damaged; run the same command again to redo this shard" in result.stderr
    assert "Traceback" not in result.stderr
    assert embed(source, output, "--shard-rows", 50).returncode == 0
    assert output.exists()


def test_an_input_that_changes_while_it_is_read_is_refused(model: Embedder, tmp_path: Path) -> None:
    source = write(tmp_path / "texts.jsonl", TEXTS[:8])
    plan, (shard,) = planned(source, model, 8)
    with pytest.raises(InputError, match="has changed since the work on it began"):
        embed_shard(plan, shard, model, tmp_path, lambda rows: write(source, ["other"] * 8) and None)
    assert [path.name for path in tmp_path.iterdir()] == ["texts.jsonl"]


def test_a_bad_row_is_refused_where_it_could_not_be_told(tmp_path: Path) -> None:
    source = write(tmp_path / "texts.jsonl", ["one", None, "three"])  # type: ignore[list-item]
    message = refused(source, tmp_path / "out.npy")
    assert "row 1 of the input: the text is null; a .npy file cannot leave rows out" in message


def test_a_damaged_page_leaves_nothing_where_no_shard_is_done(tmp_path: Path) -> None:
    source = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"text": TEXTS}), source, compression="gzip")
    content = bytearray(source.read_bytes())
    content[60:400] = bytes(340)
    source.write_bytes(content)
    assert "texts.parquet: cannot be read" in refused(source, tmp_path / "out.parquet")


def test_what_is_done_before_a_bad_row_stays(tmp_path: Path) -> None:
    source = write(tmp_path / "texts.jsonl", ["one", "two", None])  # type: ignore[list-item]
    assert embed(source, tmp_path / "out.npy", "--shard-rows", 1).returncode == 1
    assert len(list((tmp_path / "out.npy.parts").glob("shard-*.npy"))) == 2


def test_a_pipe_is_not_taken_for_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    message = refused(tmp_path / "pipe", tmp_path / "out.parquet")
    assert "pipe: is a pipe or a device, which can be neither read twice nor replaced; name a file" in message


@pytest.mark.parametrize(
    ("content", "good", "bad"),
    [
        (b'text\n"one\r\ntwo"\nthree\n', ["one\r\ntwo", "three"], {}),
        (b'text\n"one"two\nthree\n', ["three"], {0: "cannot be read as CSV"}),
        (b"text\n" + b"x" * 40 + b"\ntwo\n", ["two"], {0: "longer than"}),
        (b'text\n"a\n' + b"x" * 40 + b'\nb"\ntwo\n', ["two"], {0: "longer than"}),
    ],
)
def test_odd_csv_gives_bad_rows_and_right_ones(
    content: bytes, good: list[str], bad: dict[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LARGEST_ROW", 32)
    (tmp_path / "t.csv").write_bytes(content)
    rows = list(lines.read(tmp_path / "t.csv", "csv", 0, len(content), 0, "text", ()))
    assert [row.text for row in rows if row.reason is None] == good
    reasons = {row.number: row.reason for row in rows if row.reason is not None}
    assert reasons.keys() == bad.keys()
    assert all(words in str(reasons[number]) for number, words in bad.items())


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1, 2], None, [3]]),
        pa.array([[[1], None], None, []]),
        pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        pa.array([{"a": 1}, None, {"a": None}]),
        pa.array([1, None, 2], pa.timestamp("ns")),
        pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array(["a", None])),
    ],
    ids=lambda values: str(values.type),
)
def test_columns_of_any_type_are_kept(values: pa.Array, tmp_path: Path) -> None:
    table = pa.table({"text": ["one", "two", "three"], "more": values})
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as stream, pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)
    result = embed(tmp_path / "t.arrow", tmp_path / "out.parquet", "--keep", "more")
    assert result.returncode == 0, result.stderr
    expected = pa.array(values.to_pylist()) if pa.types.is_run_end_encoded(values.type) else values
    assert pq.read_table(tmp_path / "out.parquet").column("more").combine_chunks().equals(expected)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("t.json", (), r"cannot be read as it is; write it as JSON lines"),
        ("t.csv.gz", (), r"cannot be read as it is; unpack it first"),
        ("t.txt", ("--text-column", "text"), r"is read as lines of text, which have no column 'text'"),
        ("twice.parquet", (), r"has two columns 'text'; rename one"),
        ("out.parquet.rejected.jsonl", (), r"is where rows set aside are listed"),
    ],
)
def test_what_would_be_misread_is_refused(name: str, options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"text": "x"}\n')
    if name == "twice.parquet":
        pq.write_table(pa.table([pa.array(["x"]), pa.array(["y"])], ["text", "text"]), tmp_path / name)
    assert words in refused(tmp_path / name, tmp_path / "out.parquet", *options)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet", ".arrow", ".csv"])
def test_names_that_are_not_utf8_are_names(ending: str, model: Embedder, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xfc"))
    folder.mkdir()
    source, output = folder / f"caf\udce9{ending}", tmp_path / "v\udce9.parquet"
    shutil.copyfile(write(tmp_path / f"texts{ending}", ["one", "two"]), source)
    result = embed(source, output, "--shard-rows", 1, "--keep", "text")
    assert result.returncode == 0, result.stderr
    with output.open("rb") as stream:
        assert pq.read_table(stream).column("text").to_pylist() == ["one", "two"]
    assert embed(folder, tmp_path / "out.npy").returncode == 0
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model.encode(["one", "two"]), atol=1e-5)


def test_rows_set_aside_name_files_that_are_not_utf8(tmp_path: Path) -> None:
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl"))
    shutil.copyfile(write(tmp_path / "texts.jsonl", ["one", None]), source)  # type: ignore[list-item]
    result = embed(source, tmp_path / "out.parquet")
    assert result.returncode == 0, result.stderr
    (record,) = map(json.loads, (tmp_path / "out.parquet.rejected.jsonl").read_text("utf-8").splitlines())
    assert (record["row"], Path(record["file"]).name) == (1, r"caf\udce9.jsonl")


@pytest.mark.parametrize("option", ["--keep", "--text-column"])
def test_a_column_whose_name_is_not_utf8_is_refused(option: str, tmp_path: Path) -> None:
    source = write(tmp_path / "texts.jsonl", ["one"])
    message = refused(source, tmp_path / "out.parquet", option, "caf\udce9")
    assert r"column 'caf\udce9' is not valid Unicode" in message


def test_files_of_a_directory_that_cannot_be_read_are_named(model: Embedder, tmp_path: Path) -> None:
    folder, output = tmp_path / "corpus", tmp_path / "out.parquet"
    folder.mkdir()
    write(folder / "a.jsonl", ["one"])
    write(folder / "c.jsonl", ["two", None])  # type: ignore[list-item]
    (folder / "b.jsonl").symlink_to("nowhere")
    os.mkfifo(folder / "d.jsonl")
    os.mkfifo(folder / "other")
    (folder / "folder.jsonl").mkdir()
    named = f"{folder}/b.jsonl: is a link that leads nowhere; {folder}/d.jsonl: is no file but a pipe"
    message = refused(folder, output)
    assert f"error: {named}, a socket or a device; remove them, or leave them out with --skip-unreadable" in message
    result = embed(folder, output, "--skip-unreadable")
    assert result.returncode == 0, result.stderr
    assert f"warning: left out: {folder}/b.jsonl: is a link that leads nowhere\n" in result.stderr
    assert f"warning: left out: {folder}/d.jsonl: is no file but a pipe, a socket or a device\n" in result.stderr
    assert "3 rows in, 2 embedded, 1 set aside" in result.stderr
    assert pq.read_table(output).column("row").to_pylist() == [0, 1]


def test_one_that_is_refused_removes_nothing_of_the_one_that_is_planning(tmp_path: Path) -> None:
    with parts.taken(tmp_path / "out.npy") as directory:
        with pytest.raises(StateError, match="another process is working on it"), parts.taken(tmp_path / "out.npy"):
            pass
        assert [path.name for path in directory.iterdir()] == ["lock"]
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_kept_until_the_directory_is_let_go_of(model: Embedder, tmp_path: Path) -> None:
    plan, shards = planned(write(tmp_path / "t.csv", ["one"]), model, 1)
    with parts.taken(tmp_path / "out.npy") as directory:
        parts.keep(directory, plan, shards)
        parts.forget(directory)
        assert [path.name for path in directory.iterdir()] == ["lock"]  # which Windows cannot remove while it is open
    assert not directory.exists()


def test_of_a_link_that_cannot_be_followed_the_systems_reason_is_said(tmp_path: Path) -> None:
    (tmp_path / "round.csv").symlink_to("round.csv")
    (tmp_path / "t.csv").symlink_to("nowhere")
    assert planning.unreadable_files(tmp_path) == [
        f"{tmp_path}/round.csv: cannot be read: {os.strerror(errno.ELOOP)}",
        f"{tmp_path}/t.csv: is a link that leads nowhere",
    ]


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", ["one"]).chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root may read all files")
    assert planning.unreadable_files(tmp_path) == [f"{tmp_path}/a.csv: may not be read"]


@pytest.mark.parametrize(
    ("source", "output", "words"),
    [
        ("missing.parquet", "out.parquet", "missing.parquet: No such file or directory"),
        ("missing.parquet", "out.npy", "missing.parquet: No such file or directory"),
        ("missing.csv", "out.jsonl", "missing.csv: No such file or directory"),
        ("missing/", "out.parquet", "missing: No such file or directory"),
        ("dangling.csv", "out.parquet", "dangling.csv: No such file or directory"),
        ("pipe", "out.parquet", "pipe: is a pipe or a device"),
        ("pipe.csv", "out.jsonl", "pipe.csv: is a pipe or a device"),
        ("pipe.csv", "out.npy", "pipe.csv: is a pipe or a device"),
        ("t.csv", "folder", "folder: is a directory; give the name of a file"),
        ("t.csv", "folder.parquet", "folder.parquet: is a directory; give the name of a file"),
        ("t.csv", "nowhere/out.parquet", "nowhere/out.parquet: there is no directory"),
        ("t.csv", "pipe.npy", "pipe.npy: is a pipe or a device"),
        ("t.txt", "pipe.parquet", "pipe.parquet: is a pipe or a device"),
    ],
)
def test_what_is_wrong_with_a_path_is_said_before_all_else(
    source: str, output: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pipe", "pipe.csv", "pipe.npy", "pipe.parquet"):
        os.mkfifo(name)
    for name in ("folder", "folder.parquet"):
        Path(name).mkdir()
    Path("dangling.csv").symlink_to("nowhere.csv")
    Path("t.csv").write_text("text\none\n")
    Path("t.txt").write_text("one\n")
    message = refused(Path(source), Path(output))
    assert message.startswith(f"jinabert-onnx: error: {words}"), message


@pytest.mark.parametrize("name", ["Table", "RecordBatch"])
def test_a_table_of_arrow_in_place_of_texts_is_refused_and_its_column_is_not(model: Embedder, name: str) -> None:
    table = getattr(pa, name).from_pydict({"text": TEXTS[:3], "id": ["0", "1", "2"]})
    with pytest.raises(InputTypeError, match=f"not {name}; pass one column or field as a list"):
        model.encode(table)
    np.testing.assert_array_equal(model.encode(table.column("text").to_pylist()), model.encode(TEXTS[:3]))
