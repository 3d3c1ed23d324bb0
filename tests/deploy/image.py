"""Follow a Dockerfile line by line without a container engine: a directory stands for the file system of a stage.

Each stage is built at the same place, so that paths in what it installs stay right in what another copies from it. Of a
base image there is nothing but the Python that runs these tests. Absolute paths in a line become paths below the place.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SETTINGS = {"USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
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
    settings: dict[str, str] = field(default_factory=dict)  # the last USER, CMD, ...

    def path(self, inside: str) -> Path:
        """Where the image's `inside` is on this machine."""
        return self.root / inside.lstrip("/") if inside.startswith("/") else self.directory / inside

    def translate(self, text: str) -> str:
        """`text` with the image's absolute paths as this machine's."""
        return _ABSOLUTE.sub(f"{self.root}/", text)

    def command(self, *arguments: str) -> list[str]:
        """What `docker run IMAGE ARGUMENTS` runs."""
        return self._found([*exec_form(self.settings["ENTRYPOINT"]), *(arguments or exec_form(self.settings["CMD"]))])

    def healthcheck(self) -> list[str]:
        return self._found(exec_form(self.settings["HEALTHCHECK"].removeprefix("CMD ")))

    def variables(self, changes: Mapping[str, str]) -> dict[str, str]:
        """The image's environment and nothing of this process's, with what `docker run --env` changes."""
        return self.environment | {name: self.translate(value) for name, value in changes.items()}

    def _found(self, command: list[str]) -> list[str]:
        """The command's program is looked for in the image's PATH, which is not this process's."""
        name, *words = map(self.translate, command)
        program = Path(shutil.which(name, path=self.environment["PATH"]) or "")
        assert program.is_relative_to(self.root), f"{name} is not in the image"
        return [str(program), *words]


@dataclass(frozen=True)
class Sources:
    """What a build is given."""

    context: Path
    named: Mapping[str, Path]  # --build-context NAME=PATH
    base_environment: Mapping[str, str]  # what the base image sets


def exec_form(text: str) -> list[str]:
    """The words of `CMD ["a", "b"]`; the form with a shell is an error."""
    words: list[str] = json.loads(text)
    return words


def build(dockerfile: Path, sources: Sources, work: Path) -> Image:
    """Follow `dockerfile` and return its last stage."""
    arguments: dict[str, str] = {}
    stages = dict(sources.named)
    image, stage = None, ""
    for name, flags, rest in _instructions(dockerfile.read_text("utf-8")):
        if name == "ARG":
            key, _, value = rest.partition("=")
            arguments[key] = value
        elif name == "FROM":
            _put_away(image, stage, stages, work)
            base, _, stage = _substituted(rest, arguments).partition(" AS ")
            image = _new_stage(base, work / "root", sources.base_environment)
        else:
            assert image is not None, "an instruction before the first FROM"
            source = stages[flags["from"]] if "from" in flags else sources.context
            _follow(name, flags, rest, image, source)
    assert image is not None
    return image


def _instructions(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Name, flags and the rest of each."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        found = re.fullmatch(r"(\w+)\s+((?:--[a-z-]+=\S+\s+)*)(.*?)\s*", line)
        assert found is not None, line
        yield found[1], dict(re.findall(r"--([a-z-]+)=(\S+)", found[2])), found[3]


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


def _follow(name: str, flags: Mapping[str, str], rest: str, image: Image, source: Path) -> None:
    """Commands run in the environment of this process, which may say where packages come from; without cache mounts."""
    if name == "RUN":
        assert flags.get("mount", "type=cache").startswith("type=cache")
        command = ["/bin/sh", "-c", image.translate(rest)]
        subprocess.run(command, cwd=image.directory, env=os.environ | image.environment, check=True)
    elif name == "COPY":
        _copy(_substituted(rest, image.environment).split(), source, image)
    elif name == "ENV":
        for word in rest.split():
            key, _, value = word.partition("=")
            image.environment[key] = _substituted(image.translate(value), image.environment)
    elif name == "WORKDIR":
        image.directory = image.path(rest)
        image.directory.mkdir(parents=True, exist_ok=True)
    else:
        assert name in SETTINGS, f"an instruction that these tests do not know: {name}"
        image.settings[name] = rest


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
