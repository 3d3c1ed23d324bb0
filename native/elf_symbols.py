"""Read what a compiled file defines and needs: an object or a shared library, in ELF of 64 bits, little-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ALL, _LOADED = 2, 11  # types of tables: every symbol of a file, and those that a loader sees
_FOR_LOADER, _NEEDED_VERSIONS = (
    6,
    0x6FFFFFFE,
)  # of tables: what a loader reads, and versions of other libraries' symbols
_NEEDED = 1  # a loader's entry that names a library
_GLOBAL, _WEAK, _UNIQUE = 1, 2, 10  # bindings of symbols


@dataclass(frozen=True)
class Symbol:
    """A definition that other files can see."""

    name: str
    shared: bool  # the linker keeps one of all definitions of this name


@dataclass(frozen=True)
class Requirements:
    """What a shared library needs of others."""

    libraries: list[str]
    versions: list[str]  # of their symbols, such as "GLIBC_2.17"

    def newest(self, name: str) -> tuple[int, ...]:
        """Return the highest version that has this name, such as (2, 17) of "GLIBC"; () where there is none."""
        found = (version.removeprefix(f"{name}_") for version in self.versions if version.startswith(f"{name}_"))
        return max((tuple(map(int, version.split("."))) for version in found), default=())


@dataclass(frozen=True)
class _Section:
    kind: int
    offset: int  # bytes from the file's beginning
    size: int  # bytes
    link: int  # of a table of symbols: the section that holds their names


def defined_by(path: Path) -> list[Symbol]:
    """Return what an object defines for other files.

    Raises:
        ValueError: the file is of another format.
    """
    return _definitions(path, _ALL)


def exported_by(path: Path) -> list[Symbol]:
    """Return what a shared library defines for those that load it.

    Raises:
        ValueError: the file is of another format.
    """
    return _definitions(path, _LOADED)


def required_by(path: Path) -> Requirements:
    """Return which libraries a shared library needs, and which versions of their symbols.

    Raises:
        ValueError: the file is of another format.
    """
    content = _read(path)
    sections = _read_sections(content)
    libraries, versions = [], []
    for table in sections:
        names = sections[table.link].offset if table.link < len(sections) else 0
        if table.kind == _FOR_LOADER:
            entries = struct.iter_unpack("<QQ", content[table.offset : table.offset + table.size])
            libraries += [text_at(content, names + value) for kind, value in entries if kind == _NEEDED]
        elif table.kind == _NEEDED_VERSIONS:
            versions += [text_at(content, names + place) for place in _version_names(content, table.offset)]
    return Requirements(libraries, versions)


def _version_names(content: bytes, library: int) -> Iterator[int]:
    """Yield where each version's name stands; of each library there is an entry, with a chain of versions."""
    more = True
    while more:
        count, version, next_library = struct.unpack_from("<2xH4xII", content, library)
        for _ in range(count):
            name, next_version = struct.unpack_from("<8xII", content, library + version)
            yield name
            version += next_version
        library += next_library
        more = next_library > 0


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.startswith(b"\x7fELF\x02\x01"):
        raise ValueError(f"{path} is no ELF file of 64 bits, little-endian")
    return content


def _definitions(path: Path, kind: int) -> list[Symbol]:
    content = _read(path)
    sections = _read_sections(content)
    found = []
    for table in (section for section in sections if section.kind == kind):
        entries = content[table.offset : table.offset + table.size]
        for place, info, _, section, _, _ in struct.iter_unpack("<IBBHQQ", entries):
            binding = info >> 4
            if section and binding in (_GLOBAL, _WEAK, _UNIQUE):  # defined here, and not for this file alone
                name = text_at(content, sections[table.link].offset + place)
                found.append(Symbol(name, shared=binding != _GLOBAL))
    return found


def _read_sections(content: bytes) -> list[_Section]:
    (begin,) = struct.unpack_from("<Q", content, 40)
    entry_bytes, count = struct.unpack_from("<HH", content, 58)
    entries = (struct.unpack_from("<IIQQQQI", content, begin + entry_bytes * i) for i in range(count))
    return [_Section(kind, offset, size, link) for _, kind, _, _, offset, size, link in entries]


def text_at(content: bytes, begin: int) -> str:
    """Return the text that begins there and ends with a zero byte."""
    return content[begin : content.index(b"\0", begin)].decode("ascii")
