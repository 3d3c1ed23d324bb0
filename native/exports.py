"""Read what a shared library exports, in the formats of Linux (ELF) and macOS (Mach-O), of 64 bits."""

from __future__ import annotations

import struct
from pathlib import Path

from elf_symbols import exported_by, text_at

# What zig's linker exports from every Mach-O library, whatever it is told to: two names of its own, and C++'s operators
# new and delete, which a program may replace.
_OF_EVERY_MACH_O = ("_mh_dylib_header", "__dso_handle", "_Znw", "_Zna", "_Zdl", "_Zda")


def exported_names(library: Path) -> set[str]:
    """Return the names of all that a library exports, from Mach-O without what every library does.

    Raises:
        ValueError: the file is of another format.
    """
    content = library.read_bytes()
    if content.startswith(b"\xcf\xfa\xed\xfe"):
        return _exported_from_mach_o(content)
    return {symbol.name for symbol in exported_by(library)}


def require_exports(library: Path) -> None:
    """Refuse a library that exports more or less than onnxruntime's entry point and the functions of our own."""
    names = exported_names(library)
    own = {name for name in names if name.startswith("jinabert_")}
    if not own or names - own != {"RegisterCustomOps"}:
        raise ValueError(f"{library.name} exports {', '.join(sorted(names))}")


def _exported_from_mach_o(content: bytes) -> set[str]:
    symbol_table, external, private, kind, in_section = 2, 0x01, 0x10, 0x0E, 0x0E
    commands, place = struct.unpack_from("<I", content, 16)[0], 32
    names = set()
    for _ in range(commands):
        command, command_bytes = struct.unpack_from("<II", content, place)
        if command == symbol_table:
            symbols, count, texts, _ = struct.unpack_from("<4I", content, place + 8)
            for name, flags, _, _, _ in struct.iter_unpack("<IBBHQ", content[symbols : symbols + 16 * count]):
                if flags & external and not flags & private and flags & kind == in_section:
                    names.add(text_at(content, texts + name).removeprefix("_"))  # as C's names are written there
        place += command_bytes
    return {name for name in names if not name.startswith(_OF_EVERY_MACH_O)}
