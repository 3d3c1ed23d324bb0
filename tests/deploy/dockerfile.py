"""A Dockerfile as a list of instructions. What this does not know is an error, so that no line is left out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

KNOWN = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"}
KNOWN |= {"ENTRYPOINT", "CMD"}


@dataclass(frozen=True)
class Instruction:
    """`NAME --flag=value rest`."""

    name: str
    flags: dict[str, str]
    rest: str

    def words(self) -> list[str]:
        return self.rest.split()

    def exec_form(self) -> list[str]:
        """The JSON list of `CMD ["a", "b"]`; the form with a shell is an error."""
        words = json.loads(self.rest)
        assert isinstance(words, list), self.rest
        assert all(isinstance(word, str) for word in words), self.rest
        return words


def parse(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    return [_instruction(line) for line in joined.splitlines()]


def _instruction(line: str) -> Instruction:
    name, _, rest = line.strip().partition(" ")
    assert name in KNOWN, f"an instruction that these tests do not know: {line}"
    flags = {}
    while found := re.match(r"\s*--([a-z-]+)=(\S+)\s+", rest):
        flags[found[1]] = found[2]
        rest = rest[found.end() :]
    return Instruction(name, flags, rest.strip())
