"""A bundle goes through a tar file unchanged; an archive with anything else in it is refused and leaves nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from jinabert_onnx import BundleError, BundleNotFoundError, Embedder, InputError
from jinabert_onnx.bundle.archive import pack, unpack
from support.bundles import edit_json, flip_a_byte
from support.paths import BUNDLES

Content = dict[str, bytes]


def files_of(bundle: Path) -> Content:
    paths = sorted(path for path in bundle.rglob("*") if path.is_file())
    return {path.relative_to(bundle).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of a small bundle; not to be altered."""
    archive = tmp_path_factory.mktemp("packed") / "bundle.tar"
    pack(BUNDLES / "plain-4h", archive)
    return archive


def plain(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def write_tar(path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]], kind: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=kind) as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return path


def refused(archive: Path, words: str) -> None:
    """`unpack` says so in one line and leaves nothing beside the archive."""
    beside = sorted(archive.parent.iterdir())
    with pytest.raises(BundleError, match=words) as caught:
        unpack(archive, archive.parent / "out")
    assert str(caught.value).isprintable()
    assert sorted(archive.parent.iterdir()) == beside


def test_a_bundle_survives_the_way_through_an_archive(packed: Path, tmp_path: Path) -> None:
    unpack(packed, tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(BUNDLES / "plain-4h")
    assert Embedder.load(tmp_path / "out").encode("t7").shape == (64,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def touch_everything(bundle: Path) -> None:
    for path in bundle.rglob("*"):
        os.utime(path, (1, 1))
    (bundle / "tokenizer.json").chmod(0o600)


def link_as_in_the_hubs_cache(bundle: Path) -> None:
    (bundle / "tokenizer.json").rename(bundle.parent / "blob")
    (bundle / "tokenizer.json").symlink_to(bundle.parent / "blob")


@pytest.mark.parametrize(
    "change",
    [touch_everything, lambda bundle: (bundle / "unlisted.txt").write_text("mine"), link_as_in_the_hubs_cache],
)
def test_the_same_bundle_gives_the_same_bytes(
    packed: Path, bundle_copy: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    change(bundle_copy)
    pack(bundle_copy, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == packed.read_bytes()


def test_an_archive_holds_the_manifest_first_and_nothing_of_this_machine(packed: Path) -> None:
    with tarfile.open(packed) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    assert names[0] == "manifest.json"
    assert names[1:] == sorted(files_of(BUNDLES / "plain-4h").keys() - {"manifest.json"})
    assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in members} == {
        (0, 0, 0, "", 0o644)
    }


@pytest.mark.parametrize("listed", [False, True], ids=["unlisted", "listed"])
def test_a_model_card_that_was_edited_goes_along(bundle_copy: Path, tmp_path: Path, listed: bool) -> None:
    card = "---\nlicense: mit\n---\n"
    (bundle_copy / "README.md").write_text(card)
    if listed:  # as any other file
        edit_json(bundle_copy / "manifest.json", lambda content: content["files"].update({"README.md": record(card)}))
    pack(bundle_copy, tmp_path / "out.tar")
    unpack(tmp_path / "out.tar", tmp_path / "out")
    assert (tmp_path / "out" / "README.md").read_text() == card
    assert Embedder.load(tmp_path / "out").encode("t7").shape == (64,)


def test_a_bundle_without_a_model_card_is_packed(bundle_copy: Path, tmp_path: Path) -> None:
    (bundle_copy / "README.md").unlink()
    pack(bundle_copy, tmp_path / "out.tar")
    unpack(tmp_path / "out.tar", tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(bundle_copy)


def test_a_model_card_elsewhere_on_the_machine_is_not_packed(bundle_copy: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    (bundle_copy / "README.md").unlink()
    (bundle_copy / "README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(BundleError, match=r"README\.md: a link out of the bundle"):
        pack(bundle_copy, tmp_path / "out.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "secret"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, r"model_int8\.onnx: altered"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), r"model_int8\.onnx: \d+ bytes where the manifest"),
        (Path.unlink, r"model_int8\.onnx: missing"),
        (lambda path: (path.unlink(), path.mkdir()), r"model_int8\.onnx: missing"),
    ],
)
def test_a_damaged_bundle_is_not_packed(bundle_copy: Path, tmp_path: Path, damage: Callable, words: str) -> None:
    damage(bundle_copy / "onnx" / "model_int8.onnx")
    with pytest.raises(BundleError, match=words):
        pack(bundle_copy, tmp_path / "out.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


@pytest.mark.parametrize("name", ["", ".", "a//b", "./a", "a\0b", "a\nb", "manifest.json", "\udc80"])
def test_names_that_cannot_be_archived_are_refused(edit_manifest: Callable, tmp_path: Path, name: str) -> None:
    bundle = edit_manifest(lambda manifest: manifest["files"].update({name: {"bytes": 1, "sha256": ""}}))
    with pytest.raises(BundleError, match=r"file name .* (cannot be archived|leaves the bundle)"):
        pack(bundle, tmp_path / "out.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_nothing_is_overwritten(packed: Path, tmp_path: Path, make: Callable) -> None:
    make(tmp_path / "taken")
    for write, source in ((pack, BUNDLES / "plain-4h"), (unpack, packed)):
        with pytest.raises(InputError, match="taken: exists already"):
            write(source, tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match=r"nothing\.tar: no such file"):
        unpack(tmp_path / "nothing.tar", tmp_path / "out")
    with pytest.raises(BundleNotFoundError, match="no such directory"):
        pack(tmp_path / "nothing", tmp_path / "out.tar")
    with pytest.raises(FileNotFoundError) as caught:
        pack(BUNDLES / "plain-4h", tmp_path / "nowhere" / "out.tar")
    assert caught.value.filename == str(tmp_path / "nowhere" / "out.tar")


def test_what_appears_can_be_read_as_usual(packed: Path, tmp_path: Path) -> None:
    unpack(packed, tmp_path / "out")
    usual = tmp_path / "usual"
    usual.mkdir()
    (usual / "file").touch()
    assert (tmp_path / "out").stat().st_mode == usual.stat().st_mode
    assert (tmp_path / "out" / "onnx").stat().st_mode == usual.stat().st_mode
    assert (tmp_path / "out" / "onnx" / "model.onnx").stat().st_mode == (usual / "file").stat().st_mode
    pack(tmp_path / "out", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").stat().st_mode == (usual / "file").stat().st_mode


@pytest.mark.parametrize("root", [".", "bundle", "./bundle", "some/where"])
@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_that_others_made_are_read(tmp_path: Path, root: str, kind: int) -> None:
    with tarfile.open(tmp_path / "bundle.tar", "w", format=kind) as tar:
        tar.add(BUNDLES / "plain-4h", "placeholder", filter=renaming(root))
    unpack(tmp_path / "bundle.tar", tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(BUNDLES / "plain-4h")


def renaming(root: str) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    def rename(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.name = member.name.replace("placeholder", root, 1)
        return member

    return rename


def test_an_archive_of_the_tar_program_is_read(tmp_path: Path) -> None:
    tar = shutil.which("tar")
    if tar is None:
        pytest.skip("there is no tar program here")
    subprocess.run([tar, "-cf", tmp_path / "bundle.tar", "-C", BUNDLES / "plain-4h", "."], check=True)
    unpack(tmp_path / "bundle.tar", tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(BUNDLES / "plain-4h")


def link(kind: bytes, name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def sparse(name: str) -> tuple[tarfile.TarInfo, bytes]:
    """A gigabyte of nothing in 512 bytes."""
    member, content = plain(name, b"0\n".ljust(512, b"\0"))
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 30)}
    return member, content


@pytest.mark.parametrize(
    ("added", "words"),
    [
        (plain("notes.txt", b"mine"), r"'notes\.txt' is not in the manifest"),
        (plain("../escaped", b"x"), r"'\.\./escaped' leaves the bundle"),
        (plain("/escaped", b"x"), "'/escaped' leaves the bundle"),
        (plain("onnx/../../escaped", b"x"), "leaves the bundle"),
        (plain("onnx\\escaped", b"x"), "leaves the bundle"),
        (plain("C:escaped", b"x"), "leaves the bundle"),
        (plain("onnx//model.onnx", b"x"), "leaves the bundle"),
        (plain("es\ncaped", b"x"), "leaves the bundle"),
        (plain("tokenizer.json", b"{}"), r"'tokenizer\.json' is in it twice"),
        (plain("./tokenizer.json", b"{}"), r"'tokenizer\.json' is in it twice"),
        (plain("manifest.json", b"{}"), r"'manifest\.json' is in it twice"),
        (plain("README.md", b"x"), r"'README\.md' is in it twice"),
        (plain("README.md/x", b"x"), "is not in the manifest"),
        (plain("1_Pooling/README.md", b"x"), "is not in the manifest"),
        (plain("onnx", b"x"), "'onnx' is not in the manifest"),
        (plain("tokenizer.json/x", b"x"), "is not in the manifest"),
        (link(tarfile.SYMTYPE, "escape", "/"), "'escape' is not a plain file"),
        (link(tarfile.LNKTYPE, "escape", "tokenizer.json"), "'escape' is not a plain file"),
        (link(tarfile.CHRTYPE, "device", ""), "'device' is not a plain file"),
        (link(tarfile.BLKTYPE, "device", ""), "'device' is not a plain file"),
        (link(tarfile.FIFOTYPE, "pipe", ""), "'pipe' is not a plain file"),
        (link(b"?", "unknown", ""), "'unknown' is not a plain file"),
        (sparse("zeros"), "'zeros' is not a plain file"),
    ],
)
def test_an_archive_with_anything_else_in_it_is_refused(
    tmp_path: Path, added: tuple[tarfile.TarInfo, bytes], words: str
) -> None:
    members = [plain(name, content) for name, content in files_of(BUNDLES / "plain-4h").items()]
    refused(write_tar(tmp_path / "bad.tar", [*members, added]), words)
    refused(write_tar(tmp_path / "bad.tar", [added, *members]), words)


def test_a_directory_that_leaves_the_bundle_is_not_made(tmp_path: Path) -> None:
    members = [plain(name, content) for name, content in files_of(BUNDLES / "plain-4h").items()]
    (tmp_path / "inner").mkdir()
    archive = write_tar(tmp_path / "inner" / "odd.tar", [link(tarfile.DIRTYPE, "../../escaped", ""), *members])
    unpack(archive, tmp_path / "inner" / "out")
    assert files_of(tmp_path / "inner" / "out") == files_of(BUNDLES / "plain-4h")
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]


def with_manifest(change: Callable[[dict], object]) -> Content:
    """The bundle's files and an altered manifest."""
    content = files_of(BUNDLES / "plain-4h")
    manifest = json.loads(content["manifest.json"])
    change(manifest)
    return content | {"manifest.json": json.dumps(manifest).encode()}


def record(text: bytes | str) -> dict[str, object]:
    content = text.encode() if isinstance(text, str) else text
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, r"there is no manifest\.json in it"),
        ({"tokenizer.json": b"{}"}, r"there is no manifest\.json in it"),
        ({"manifest.json": b"{"}, "not valid JSON"),
        ({"manifest.json": b"[" * 100_000}, "not valid JSON"),
        ({"manifest.json": b"{}"}, "'schema' is missing"),
        (with_manifest(lambda manifest: manifest["files"].update(new=record(b""))), "'new' is in the manifest and mis"),
        (with_manifest(lambda manifest: manifest["files"].pop("config.json")), r"'config\.json' is not in the m"),
        (
            with_manifest(lambda manifest: manifest["files"]["tokenizer.json"].update(bytes=3)),
            r"tokenizer\.json: \d+ bytes where the manifest says 3",
        ),
        (
            with_manifest(lambda manifest: manifest["files"]["tokenizer.json"].update(sha256="0" * 64)),
            r"tokenizer\.json: altered",
        ),
        (
            with_manifest(lambda manifest: manifest["files"].update({"manifest.json": record(b"")})),
            r"'manifest\.json' is in the manifest and missing",
        ),
        (
            with_manifest(lambda manifest: manifest["files"].update({"onnx": record(b"x")})) | {"onnx": b"x"},
            "'onnx' is both a file and a directory",
        ),
        (
            with_manifest(lambda manifest: manifest["files"].update({"manifest.json/x": record(b"x")}))
            | {"manifest.json/x": b"x"},
            r"'manifest\.json' is both a file and a directory",
        ),
    ],
)
def test_an_archive_that_is_not_what_its_manifest_says_is_refused(tmp_path: Path, content: Content, words: str) -> None:
    refused(write_tar(tmp_path / "bad.tar", [plain(name, data) for name, data in content.items()]), words)


def test_files_of_two_bundles_are_refused(tmp_path: Path) -> None:
    content = files_of(BUNDLES / "plain-4h")
    members = [plain(f"{root}/{name}", data) for root in ("a", "b") for name, data in content.items()]
    refused(write_tar(tmp_path / "bad.tar", members), r"'b/.*' lies outside the bundle")


def header(name: str, size: int, kind: bytes = b"0", number: bytes | None = None) -> bytes:
    """512 bytes that claim a size; `number` stands in its field as it is."""
    member = tarfile.TarInfo(name)
    member.type = kind
    member.size = min(size, 8**11 - 1)
    block = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
    if number is not None:
        block[124:136] = number
        block[148:156] = b" " * 8
        block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a tar file"),
        (b"not a tar file" * 100, "not a tar file"),
        (b"\x1f\x8b" + bytes(1000), "not a tar file"),
        (b"\0" * 10_240, r"there is no manifest\.json"),
        (header("manifest.json", 8**11 - 1), "cut short"),
        (header("manifest.json", 0, number=b"\xff" * 12), "cut short"),  # -1
        (header("manifest.json", 0, number=b"\xff" * 10 + b"\xfe\x00"), "cut short"),  # -512
        (header("manifest.json", 0, number=b"\x80" + b"\xff" * 11), "cut short"),  # 2 ** 88 - 1
        (header("x", 8**11 - 1, kind=b"x"), "a header of 8589934592 bytes"),  # extended headers
        (header("x", 8**11 - 1, kind=b"L"), "a header of 8589934592 bytes"),  # a long name
        (header("x", 0, kind=b"x", number=b"\xff" * 10 + b"\xfe\x00"), "a header of -512 bytes"),
        (header("x", 0, kind=b"L", number=b"\xff" * 10 + b"\xfe\x00"), "a header of -512 bytes"),
        (b"".join(header(f"d{number}/", 0, kind=b"5") for number in range(1100)), "more than 1000 files"),
        (header("x", 0, kind=b"x") * 3000, "not a tar file, or a damaged one"),
        (header("manifest.json", (1 << 24) + 1) + bytes((1 << 24) + 1024), "which no manifest has"),
    ],
)
def test_headers_that_lie_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "bad.tar").write_bytes(content)
    refused(tmp_path / "bad.tar", words)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.97])
def test_an_archive_cut_short_is_refused(packed: Path, tmp_path: Path, share: float) -> None:
    content = packed.read_bytes()
    (tmp_path / "bad.tar").write_bytes(content[: int(len(content) * share)])
    refused(tmp_path / "bad.tar", "cut short|in the manifest and missing|damaged")


def test_altered_content_is_refused(packed: Path, tmp_path: Path) -> None:
    content = packed.read_bytes()
    assert content.count(b'"added_tokens"') == 1
    (tmp_path / "bad.tar").write_bytes(content.replace(b'"added_tokens"', b'"added_t0kens"'))
    refused(tmp_path / "bad.tar", r"tokenizer\.json: altered")
