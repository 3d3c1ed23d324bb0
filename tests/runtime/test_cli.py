"""The command line, as a process: results on stdout, one error line on stderr, exit codes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import Embedder
from support.bundles import edit_json, record_again
from support.paths import TRAINED
from support.python import run_python

TEXTS = ["How is the weather today?", "Wie ist das Wetter heute?", "", "Zeile mit „Zeichen“ und \t Tabulator"]

unix_shell = pytest.mark.skipif(sys.platform == "win32", reason="the command line is for a shell of Unix")
full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


def run(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "jinabert_onnx", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


def run_in_bash(command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-c", command], input=stdin, capture_output=True, check=False)


def fails(result: subprocess.CompletedProcess[bytes], words: str, code: int = 1) -> None:
    error = result.stderr.decode()
    assert result.returncode == code
    assert result.stdout == b""
    assert re.search(words, error)
    assert "Traceback" not in error
    assert code == 2 or error.count("\n") == 1


@pytest.fixture(scope="module")
def expected(model: Embedder) -> np.ndarray:
    return model.encode(TEXTS)


def test_texts_as_arguments_give_json_lines(expected: np.ndarray) -> None:
    result = run("embed", TRAINED, *TEXTS)
    assert (result.returncode, result.stderr) == (0, b"")
    rows = [json.loads(line) for line in result.stdout.decode().splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    np.testing.assert_array_equal(np.array([row["embedding"] for row in rows], dtype=np.float32), expected)


@pytest.mark.parametrize("arguments", [["--input", "-"], []])
def test_lines_of_stdin_are_texts(expected: np.ndarray, arguments: list[str]) -> None:
    result = run("embed", TRAINED, *arguments, "--format", "text", stdin=("\n".join(TEXTS) + "\n").encode())
    assert result.returncode == 0
    rows = [[float(number) for number in line.split()] for line in result.stdout.decode().splitlines()]
    np.testing.assert_array_equal(np.array(rows, dtype=np.float32), expected)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_of_a_file_are_texts_and_a_npy_file_comes_out(expected: np.ndarray, tmp_path: Path, ending: str) -> None:
    (tmp_path / "texts.txt").write_bytes(ending.join(TEXTS).encode())
    result = run("embed", TRAINED, "--input", tmp_path / "texts.txt", "--output", tmp_path / "vectors.npy")
    assert (result.returncode, result.stdout) == (0, b"")
    np.testing.assert_array_equal(np.load(tmp_path / "vectors.npy"), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["texts.txt", "vectors.npy"]


def test_options_reach_encode(model: Embedder) -> None:
    result = run(
        "embed", TRAINED, TEXTS[0], "--precision", "int8", "--normalize", "--truncate-dim", 8, "--max-length", 5,
        "--threads", 1, "--provider", "cpu", "--batch-size", 1,
    )  # fmt: skip
    assert result.returncode == 0
    assert b"warning: 1 of 1 texts were cut to 5 tokens" in result.stderr
    vector = np.array(json.loads(result.stdout)["embedding"])
    assert vector.shape == (8,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_texts_and_options_may_stand_in_any_order() -> None:
    expected = run("embed", TRAINED, "a", "b", "--precision", "int8")
    assert expected.returncode == 0
    assert run("embed", TRAINED, "--precision", "int8", "a", "b").stdout == expected.stdout
    assert run("embed", "--precision", "int8", TRAINED, "a", "b").stdout == expected.stdout
    fails(run("embed", TRAINED, "--presicion", "int8", "a"), "unrecognized arguments: --presicion", code=2)


@unix_shell
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("embed BUNDLE <&-", 0, ""),
        ("embed BUNDLE text 2>&-", 0, ""),
        ("embed BUNDLE text >&-", 1, "stdout is closed"),
        ("info BUNDLE >&-", 1, "stdout is closed"),
        pytest.param("embed BUNDLE text >/dev/full", 1, "No space left on device", marks=full_device),
        pytest.param(
            "embed BUNDLE text --format npy --output /dev/full",
            1,
            "/dev/full: No space left on device",
            marks=full_device,
        ),
    ],
)
def test_closed_streams_and_full_disks_are_no_traceback(arguments: str, code: int, words: str) -> None:
    result = run_in_bash(f"{sys.executable} -m jinabert_onnx {arguments.replace('BUNDLE', str(TRAINED))}")
    assert result.returncode == code
    assert words in result.stderr.decode()
    assert b"Traceback" not in result.stderr


def test_a_byte_order_mark_is_not_text() -> None:
    plain, marked = (run("embed", TRAINED, "--input", "-", stdin=mark + b"hallo\n") for mark in (b"", b"\xef\xbb\xbf"))
    assert marked.stdout == plain.stdout


def test_the_input_is_not_overwritten_and_a_link_is_followed(tmp_path: Path) -> None:
    texts, link = tmp_path / "texts.txt", tmp_path / "link.txt"
    texts.write_text("one\ntwo\n")
    fails(run("embed", TRAINED, "--input", texts, "--output", texts), "is also the input, and would be overwritten")
    assert texts.read_text() == "one\ntwo\n"
    link.symlink_to(tmp_path / "vectors.txt")
    assert run("embed", TRAINED, "--input", texts, "--output", link).returncode == 0
    assert link.is_symlink()
    assert len((tmp_path / "vectors.txt").read_text().splitlines()) == 2


def test_info_shows_a_bundle_whose_verification_is_missing_or_odd(edit_manifest: Callable) -> None:
    bundle = edit_manifest(lambda manifest: manifest.update(verification={"fp32": [1], "int8": "x"}))
    result = run("info", bundle)
    assert result.returncode == 0
    assert b"Traceback" not in result.stderr


def test_no_lines_give_no_rows(tmp_path: Path) -> None:
    assert run("embed", TRAINED, "--input", "-").stdout == b""
    assert run("embed", TRAINED, "--input", "-", "--output", tmp_path / "none.npy").returncode == 0
    assert np.load(tmp_path / "none.npy").shape == (0, 256)


def test_a_line_that_is_not_utf8_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_bytes("gut\nschön\n".encode() + "schlecht: ü\n".encode("latin-1"))
    result = run("embed", TRAINED, "--input", tmp_path / "texts.txt", "--output", tmp_path / "out.npy")
    fails(result, r"texts\.txt: line 3 is not UTF-8 \(byte 10: 0xfc\)")
    assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["embed", "nowhere", "text"], "nowhere: no such directory"),
        (["embed", "BUNDLE", "text", "--input", "-"], "give texts or --input, not both"),
        (["embed", "BUNDLE", "--input", "nowhere.txt"], "nowhere.txt: No such file"),
        (["embed", "BUNDLE", "text", "--output", "out.xyz"], "out.xyz: its extension does not say what to write"),
        (["embed", "BUNDLE", "text", "--output", "no/such/folder/out.npy"], "there is no directory"),
        (["embed", "BUNDLE", "text", "--output", "/", "--format", "npy"], "is a directory; give the name of a file"),
        (["embed", "BUNDLE", "--input", ""], "--input is empty"),
        (["embed", "BUNDLE", "text", "--max-length", "0"], "max_length is 0"),
        (["embed", "BUNDLE", "text", "--max-length", "8193"], "max_length is 8193"),
        (["embed", "BUNDLE", "text", "--provider", "cuda"], "no CUDA provider"),
        (["embed", "BUNDLE", "text", "--provider", "cuda", "--precision", "int8"], "use precision fp16"),
        (["info", "nowhere"], "nowhere: no such directory"),
        (["verify", "nowhere"], "nowhere: no such directory"),
        (["verify", "BUNDLE", "--thorough"], "give --against CHECKPOINT too"),
        (["pack", "BUNDLE", "FILE"], "exists already"),
        (["unpack", "FILE", "out"], "not a tar file"),
        (["pack", "FILE", "out"], "is a file, not a directory"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(arguments: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    places = {"BUNDLE": str(TRAINED), "FILE": str(tmp_path / "file")}
    fails(run(*(places.get(argument, argument) for argument in arguments)), words)


@pytest.mark.parametrize("arguments", [["info", "--run"], ["verify"], ["embed", "text"]])
def test_a_bundle_whose_name_is_not_utf8_is_named_in_errors(bundle_copy: Path, arguments: list[str]) -> None:
    bundle = bundle_copy.rename(bundle_copy.with_name("b\udcfc"))
    assert run("info", bundle).stdout.splitlines()[0].endswith(rb"b\udcfc")
    result = run(arguments[0], bundle, *arguments[1:])
    assert result.returncode == 1
    assert rb"b\udcfc: its name is not UTF-8, and onnxruntime opens no such files; rename it" in result.stderr
    assert b"Traceback" not in result.stderr


def test_texts_and_files_whose_names_are_not_utf8_go_through_every_command(tmp_path: Path) -> None:
    folder = tmp_path / "d\udce9"
    folder.mkdir()
    (folder / "t.txt").write_text("one\ntwo\n")
    for name in ("o.npy", "o.jsonl", "o.txt"):
        assert run("embed", TRAINED, "--input", folder / "t.txt", "--output", folder / name).returncode == 0
    for line in (("pack", TRAINED, folder / "p.tar"), ("unpack", folder / "p.tar", folder / "unpacked")):
        result = run(*line)
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert sorted(path.name for path in folder.iterdir()) == ["o.jsonl", "o.npy", "o.txt", "p.tar", "t.txt", "unpacked"]
    fails(run("embed", TRAINED, "--input", folder / "missing.txt"), r"d\\udce9/missing.txt: No such file")
    fails(run("embed", TRAINED, "caf\udce9"), "text 0 is not valid Unicode")
    fails(run("unpack", folder / "missing.tar", folder / "other"), r"d\\udce9/missing.tar: no such file")


# Runs a command as `nohup` does, and is then hung up.
HUNG_UP = """
import signal, sys
from jinabert_onnx.cli.main import main
signal.signal(signal.SIGHUP, signal.SIG_IGN)
code = main(["info", *sys.argv[1:]])
signal.raise_signal(signal.SIGHUP)
sys.exit(code)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system does not hang up")
def test_a_signal_that_the_caller_ignores_stays_ignored() -> None:
    result = run_python("-c", HUNG_UP, TRAINED)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["embed"], ["embed", "x", "--precision", "fp8"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    fails(run(*arguments), "usage: jinabert-onnx", code=2)


def test_help_names_every_command_with_examples_and_each_has_its_own() -> None:
    text = run("--help").stdout.decode()
    assert "examples:" in text
    for command in ("export", "embed", "info", "verify", "demo"):
        assert command in text
        result = run(command, "--help")
        assert result.returncode == 0
        assert f"usage: jinabert-onnx {command}" in result.stdout.decode()


def test_info_shows_what_the_bundle_holds() -> None:
    text = run("info", TRAINED).stdout.decode()
    for words in ("tiny-de-en", "plain JinaBERT, 4 layers, 8 heads", "256 channels", "up to 8192 tokens", "int8"):
        assert words in text
    assert json.loads(run("info", TRAINED, "--json").stdout)["model"]["hidden_size"] == 256


def test_verify_checks_every_file_and_precision_without_torch() -> None:
    result = run("verify", TRAINED)
    assert result.returncode == 0
    text = result.stdout.decode()
    unrecorded = ("manifest.json", "README.md")
    files = [path for path in TRAINED.rglob("*") if path.is_file() and path.name not in unrecorded]
    assert f"files        {len(files)} whole" in text
    for precision in ("fp32", "fp16", "int8"):
        assert re.search(rf"{precision} +agrees with torch on cpu: .* smallest cosine (1\.0|0\.99)", text)


def test_verify_finds_vectors_that_are_not_torchs(bundle_copy: Path) -> None:
    def shift(probes: dict) -> None:
        probes["vectors"][2][5] += 0.001

    edit_json(bundle_copy / "probes.json", shift)
    record_again(bundle_copy, "probes.json")
    result = run("verify", bundle_copy, "--precision", "fp32")
    assert result.returncode == 1
    assert b"gives other vectors than torch gave at export (largest difference 1.0e-03" in result.stderr


@pytest.mark.parametrize(
    ("measured", "bound"),
    [
        ({"max_difference_tokens": 2e-6}, "3e-05"),
        ({"max_difference_tokens": 2e-6, "max_error_torch": 4e-6, "max_error": 4e-6}, "3e-05"),
        ({}, "3e-05"),
        ([1], "3e-05"),
        ({"max_difference_tokens": 9e-5}, None),  # of a bundle made before torch's error was measured
        ({"max_difference_tokens": 9e-5, "max_error_torch": 2e-5}, "6e-05"),
        ({"max_difference_tokens": 2e-4, "max_error_torch": 1e-4}, None),
    ],
)
def test_verify_allows_three_times_the_error_of_torch(bundle_copy: Path, measured: object, bound: str | None) -> None:
    def shift(probes: dict) -> None:
        probes["vectors"][2][5] += 1e-4

    edit_json(bundle_copy / "probes.json", shift)
    record_again(bundle_copy, "probes.json")
    edit_json(bundle_copy / "manifest.json", lambda manifest: manifest["verification"].update(fp32=measured))
    result = run("verify", bundle_copy, "--precision", "fp32")
    if bound is None:
        assert result.returncode == 0
    else:
        assert f"required is difference at most {bound})".encode() in result.stderr


def test_info_shows_both_errors_where_float64_was_needed(edit_manifest: Callable) -> None:
    errors = {"max_error": 2.1e-4, "max_error_torch": 1.9e-4}
    bundle = edit_manifest(lambda manifest: manifest["verification"]["fp32"].update(errors))
    line = "fp32 against float64: largest error 2.1e-04, of torch's own float32 1.9e-04"
    assert line in run("info", bundle).stdout.decode()


@pytest.mark.parametrize("name", ["tokenizer_config.json", "1_Pooling/config.json", "onnx/model_int8.onnx"])
def test_verify_finds_any_altered_file(bundle_copy: Path, name: str) -> None:
    with (bundle_copy / name).open("ab") as stream:
        stream.write(b" ")
    fails(run("verify", bundle_copy), f"{Path(name).name}: .* bytes where the manifest says")


@unix_shell
def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = f"{sys.executable} -m jinabert_onnx embed {TRAINED} --input - --format text | head -c 10"
    result = run_in_bash(command, stdin=b"text\n" * 2000)
    assert len(result.stdout) == 10
    assert b"Traceback" not in result.stderr
