"""Full disks, a death while writing, and files that go while they are read: a clear error, and nothing half written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, product
from pathlib import Path

import pytest
from jinabert_onnx import Embedder, JinaBertError
from jinabert_onnx.bundle.archive import pack
from support.paths import BUNDLES
from support.python import Ended, run_python

resource = pytest.importorskip("resource", reason="only Unix limits the size of files")

BUNDLE = BUNDLES / "plain-4h"  # a megabyte
ROOM = 100_000  # bytes: enough to begin with, and not for the whole of anything that is written here
TEXTS = [f"t{number}" for number in range(500)] * 2  # 256 kB of vectors

_MAIN = "import sys; from jinabert_onnx.cli import main; sys.exit(main(sys.argv[1:]))"
# The kernel ends the process in the middle of a write, and nothing of it runs any more.
_DIES = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n" + _MAIN

Command = Callable[[Path], list[object]]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with texts and an archive."""
    directory = tmp_path_factory.mktemp("sources")
    (directory / "texts.txt").write_text("\n".join(TEXTS))
    pack(BUNDLE, directory / "bundle.tar")
    return directory


@pytest.fixture(params=["embed", "embed-lines", "pack", "unpack"])
def command(request: pytest.FixtureRequest, sources: Path) -> Command:
    """A command line that writes more than `ROOM` bytes to the path that it is given."""
    embed = ["embed", BUNDLE, "--input", sources / "texts.txt"]
    commands: dict[str, Command] = {
        "embed": lambda output: [*embed, "--format", "npy", "--output", output],
        "embed-lines": lambda output: [*embed, "--format", "jsonl", "--output", output],
        "pack": lambda output: ["pack", BUNDLE, output],
        "unpack": lambda output: ["unpack", sources / "bundle.tar", output],
    }
    return commands[request.param]


def run(code: str, arguments: list[object], room: int | None = None) -> Ended:
    """Run a command line; no file that it writes can become larger than `room` bytes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    return run_python("-c", code, *arguments, preexec_fn=limit)


def content_of(path: Path) -> dict[str, bytes]:
    """What a command has written, a file or a directory."""
    files = [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def test_a_file_that_may_not_grow_is_one_line_and_leaves_nothing(command: Command, tmp_path: Path) -> None:
    result = run(_MAIN, command(tmp_path / "output"), ROOM)
    assert result.returncode == 1
    assert result.stderr == f"jinabert-onnx: error: {tmp_path / 'output'}: File too large\n"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with room for `ROOM` bytes."""
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or unmount is None:
        pytest.skip("only root can mount a disk")
    (tmp_path / "disk").mkdir()
    options = ["-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", tmp_path / "disk"]
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("no disk can be mounted here")
    yield tmp_path / "disk"
    subprocess.run([unmount, tmp_path / "disk"], check=True)


def test_a_full_disk_is_one_line_and_leaves_nothing(command: Command, small_disk: Path) -> None:
    result = run(_MAIN, command(small_disk / "output"))
    assert result.returncode == 1
    assert result.stderr == f"jinabert-onnx: error: {small_disk / 'output'}: No space left on device\n"
    assert list(small_disk.iterdir()) == []


def test_a_death_while_writing_leaves_nothing_in_the_way(command: Command, tmp_path: Path) -> None:
    result = run(_DIES, command(tmp_path / "output"), ROOM)
    assert result.returncode == -signal.SIGXFSZ
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1  # it died while it wrote
    assert left[0] == "output.parts" or left[0].startswith(".output.")
    assert run(_MAIN, command(tmp_path / "output")).returncode == 0
    assert run(_MAIN, command(tmp_path / "other")).returncode == 0
    assert content_of(tmp_path / "output") == content_of(tmp_path / "other")


def test_a_death_while_writing_keeps_the_vectors_that_were_there(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(b"older vectors")
    embed = ["embed", BUNDLE, "--input", sources / "texts.txt", "--format", "npy", "--output", tmp_path / "output"]
    assert run(_DIES, embed, ROOM).returncode == -signal.SIGXFSZ
    assert (tmp_path / "output").read_bytes() == b"older vectors"


# Files that go while a bundle is loaded. A child loads it again and again; at each time, just before one more of the
# moments at which python opens a file of the bundle, something happens to one of them.

VICTIMS = ("manifest.json", "tokenizer.json", "probes.json", "onnx/model.onnx")
CHANGES: dict[str, Callable[[Path], object]] = {"removed": Path.unlink, "emptied": lambda path: path.write_bytes(b"")}


def load_at_all_moments(directory: Path) -> None:
    """Print "VICTIM CHANGE MOMENT OUTCOME" for every moment there is, one per line."""
    due: list[Callable[[], object] | None] = []  # what to do before each time that a file is opened, then nothing

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and due and str(arguments[0]).startswith(str(directory)):
            change = due.pop(0)
            if change is not None:
                change()

    sys.addaudithook(watch)
    for victim, (name, change) in product(VICTIMS, CHANGES.items()):
        for moment in count():
            bundle = Path(shutil.copytree(BUNDLE, directory / f"{victim.replace('/', '-')}-{name}-{moment}"))
            due[:] = [None] * moment + [partial(change, bundle / victim)]
            outcome = load(bundle)
            if due:  # there is no such moment any more
                break
            sys.stdout.write(f"{victim} {name} {moment} {outcome}\n")


def load(bundle: Path) -> str:
    try:
        vectors = Embedder.load(bundle, provider="cpu", threads=1, integrity="full").encode(TEXTS[:2])
    except JinaBertError as error:
        return f"refused: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "right" if vectors.shape == (2, 64) else "wrong"


def test_a_file_that_goes_while_loading_is_named(tmp_path: Path) -> None:
    own = {"JINABERT_ONNX_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    (tmp_path / "bundles").mkdir()
    result = run_python(__file__, tmp_path / "bundles", env=os.environ | own)
    assert (result.returncode, result.stderr) == (0, "")
    outcomes = [line.split(" ", 3) for line in result.stdout.splitlines()]
    assert {(victim, change) for victim, change, _, _ in outcomes} == set(product(VICTIMS, CHANGES))
    for victim in VICTIMS:
        refused = [outcome for name, _, _, outcome in outcomes if name == victim and outcome != "right"]
        assert refused
        assert [outcome for outcome in refused if not outcome.startswith("refused:") or victim not in outcome] == []
    assert "right" in {outcome for _, _, _, outcome in outcomes}  # it had been read already


if __name__ == "__main__":
    load_at_all_moments(Path(sys.argv[1]))
