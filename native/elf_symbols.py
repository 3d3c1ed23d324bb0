"""Read what a compiled file defines: an object or a shared library, in ELF of 64 bits, little-endian."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_ALL, _LOADED = 2, 11  # types of tables: every symbol of a file, and those that a loader sees
_GLOBAL, _WEAK, _UNIQUE = 1, 2, 10  # bindings of symbols


@dataclass(frozen=True)
class Symbol:
    """A definition that other files can see."""

    name: str
    shared: bool  # the linker keeps one of all definitions of this name


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


def _definitions(path: Path, kind: int) -> list[Symbol]:
    content = path.read_bytes()
    if not content.startswith(b"\x7fELF\x02\x01"):
        raise ValueError(f"{path} is no ELF file of 64 bits, little-endian")
    sections = _read_sections(content)
    found = []
    for table in (section for section in sections if section.kind == kind):
        entries = content[table.offset : table.offset + table.size]
        for place, info, _, section, _, _ in struct.iter_unpack("<IBBHQQ", entries):
            binding = info >> 4
            if section and binding in (_GLOBAL, _WEAK, _UNIQUE):  # defined here, and not for this file alone
                name = _text_at(content, sections[table.link].offset + place)
                found.append(Symbol(name, shared=binding != _GLOBAL))
    return found


def _read_sections(content: bytes) -> list[_Section]:
    (begin,) = struct.unpack_from("<Q", content, 40)
    entry_bytes, count = struct.unpack_from("<HH", content, 58)
    entries = (struct.unpack_from("<IIQQQQI", content, begin + entry_bytes * i) for i in range(count))
    return [_Section(kind, offset, size, link) for _, kind, _, _, offset, size, link in entries]


def _text_at(content: bytes, begin: int) -> str:
    return content[begin : content.index(b"\0", begin)].decode("ascii")
