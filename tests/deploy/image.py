"""Follow a Dockerfile line by line without a container engine: a directory stands for the file system of a stage.

Each stage is built at the same place, so that paths in what it installs stay right in what another copies from it. Of a
base image there is nothing but the Python that runs these tests. Absolute paths in a line become paths below the place.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile import Instruction, parse

# A path stands at the beginning of a word, or after a quote, "=" or ":"; a URL's path does not.
_ABSOLUTE = re.compile(r"""(?:(?<=[\s"'=:])|^)/(?=\w)""")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_SYSTEM = "/usr/local/bin:/usr/bin:/bin"


@dataclass
class Image:
    """A stage: its file system and what the file says of how it is run."""

    root: Path
    environment: dict[str, str]
    directory: Path
    settings: dict[str, Instruction] = field(default_factory=dict)  # the last USER, CMD, ...

    def path(self, inside: str) -> Path:
        """Where the image's `inside` is on this machine."""
        return self.root / inside.lstrip("/") if inside.startswith("/") else self.directory / inside

    def translate(self, text: str) -> str:
        """`text` with the image's absolute paths as this machine's."""
        return _ABSOLUTE.sub(f"{self.root}/", text)

    def command(self, *arguments: str) -> list[str]:
        """What `docker run IMAGE ARGUMENTS` runs."""
        words = [*self.settings["ENTRYPOINT"].exec_form(), *(arguments or self.settings["CMD"].exec_form())]
        return self._found([self.translate(word) for word in words])

    def healthcheck(self) -> list[str]:
        form = self.settings["HEALTHCHECK"]
        assert form.rest.startswith("CMD ")
        command = Instruction("CMD", {}, form.rest.removeprefix("CMD ")).exec_form()
        return self._found([self.translate(word) for word in command])

    def variables(self, changes: Mapping[str, str]) -> dict[str, str]:
        """The image's environment and nothing of this process's, with what `docker run --env` changes."""
        return self.environment | {name: self.translate(value) for name, value in changes.items()}

    def _found(self, command: list[str]) -> list[str]:
        """The command's program is looked for in the image's PATH, which is not this process's."""
        program = Path(shutil.which(command[0], path=self.environment["PATH"]) or "")
        assert program.is_relative_to(self.root), f"{command[0]} is not in the image"
        return [str(program), *command[1:]]


@dataclass(frozen=True)
class Sources:
    """What a build is given."""

    context: Path
    named: Mapping[str, Path]  # --build-context NAME=PATH
    base_environment: Mapping[str, str]  # what the base image sets


def build(dockerfile: Path, sources: Sources, work: Path) -> Image:
    """Follow `dockerfile` and return its last stage."""
    instructions = parse(dockerfile.read_text("utf-8"))
    arguments: dict[str, str] = {}
    stages = dict(sources.named)
    image, name = None, ""
    for instruction in instructions:
        if instruction.name == "ARG":
            key, _, value = instruction.rest.partition("=")
            arguments[key] = value
        elif instruction.name == "FROM":
            _put_away(image, name, stages, work)
            base, _, name = _substituted(instruction.rest, arguments).partition(" AS ")
            image = _new_stage(base, work / "root", sources.base_environment)
        else:
            assert image is not None, "an instruction before the first FROM"
            _follow(instruction, image, sources.context, stages)
    assert image is not None
    return image


def _put_away(image: Image | None, name: str, stages: dict[str, Path], work: Path) -> None:
    """A stage that has ended makes room for the next; a named context of the same name stands in its place."""
    if image is None:
        return
    kept = image.root.rename(work / f"stage-{name}")
    stages.setdefault(name, kept)


def _new_stage(base: str, root: Path, environment: Mapping[str, str]) -> Image:
    root.mkdir()
    image = Image(root, {}, root)
    if base != "scratch":
        (root / "tmp").mkdir()
        path = f"{Path(sys.executable).parent}:{_SYSTEM}"
        image.environment |= {"PATH": path} | {key: image.translate(value) for key, value in environment.items()}
    return image


def _follow(instruction: Instruction, image: Image, context: Path, stages: Mapping[str, Path]) -> None:
    if instruction.name == "RUN":
        _run(instruction, image)
    elif instruction.name == "COPY":
        source = stages[instruction.flags["from"]] if "from" in instruction.flags else context
        _copy(_substituted(instruction.rest, image.environment).split(), source, image)
    elif instruction.name == "ENV":
        for word in instruction.words():
            name, _, value = word.partition("=")
            image.environment[name] = _substituted(image.translate(value), image.environment)
    elif instruction.name == "WORKDIR":
        image.directory = image.path(instruction.rest)
        image.directory.mkdir(parents=True, exist_ok=True)
    else:
        image.settings[instruction.name] = instruction


def _run(instruction: Instruction, image: Image) -> None:
    """In the environment of this process, which may say where packages come from; a cache mount is left out."""
    assert instruction.flags.get("mount", "type=cache").startswith("type=cache")
    subprocess.run(
        ["/bin/sh", "-c", image.translate(instruction.rest)],
        cwd=image.directory,
        env=os.environ | image.environment,
        check=True,
    )


def _copy(words: list[str], source: Path, image: Image) -> None:
    *names, target = words
    destination = Path(target) if target.startswith(str(image.root)) else image.path(target)
    for name in names:
        path = source / name.lstrip("/")
        if path.is_dir():
            shutil.copytree(path, destination, symlinks=True, dirs_exist_ok=True)
        else:
            inside = destination / path.name if target.endswith("/") else destination
            inside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, inside)


def _substituted(text: str, variables: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: variables[found[1]], text)
