"""Workflows, forms and hooks are valid, and what they name in this repository exists."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinabert_onnx.cli.main import _commands, _parse, _parser
from support.paths import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
TEMPLATES = [*FORMS, GITHUB / "PULL_REQUEST_TEMPLATE.md"]
HOOKS = ROOT / ".pre-commit-config.yaml"
MADE = ("build/", "dist/")  # what workflows make before they name it


def check(*command: str | Path) -> None:
    """Run a tool of this environment in the repository; what it complains of is the failure."""
    tool = Path(sys.executable).parent / command[0]
    result = subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each job of each workflow with its name."""
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text("utf-8"))["jobs"].items():
            yield f"{path.stem}/{name}", job


def steps() -> Iterator[dict[str, Any]]:
    for _, job in jobs():
        yield from job.get("steps", [])


def scripts() -> Iterator[str]:
    """Yield the shell lines of all workflows, without quotes and expansions."""
    for step in steps():
        for line in step.get("run", "").splitlines():
            yield re.sub(r"[\"'()]|\$\S+", " ", line)


def targets() -> set[str]:
    """Return what the Makefile's rules are named."""
    text = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    return {name for names in re.findall(r"^([\w ./-]+):(?!=)", text, re.MULTILINE) for name in names.split()}


def tools(text: str) -> set[str]:
    return set(re.findall(r"\.venv/bin/[\w-]+(?: [a-z]+)?", text))


def makes(text: str) -> set[str]:
    return {target for line in re.findall(r"\bmake ([a-z][\w -]*)", text) for target in line.split()}


def names() -> set[str]:
    """Return the paths of the repository that workflows name, as patterns."""
    inputs = {
        str(step["with"][key])
        for step in steps()
        for key in ("path", "cache-dependency-glob")
        if key in step.get("with", {})
    }
    called = {job["uses"].removeprefix("./") for _, job in jobs() if job.get("uses", "").startswith("./")}
    words = {word for line in scripts() for word in line.split()}
    written = {word for word in words if "/" in word or word.endswith(".py")}
    found = called | written | {line for text in inputs for line in text.split()}
    return {name for name in found if not name.startswith((*MADE, "../")) and name not in ("build", "dist")}


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_workflows_are_valid_and_every_job_ends_in_time(schema: str) -> None:
    check("check-jsonschema", "--builtin-schema", schema, *WORKFLOWS)


def test_workflows_are_not_open_to_attacks() -> None:
    check("zizmor", "--offline", "--quiet", "--strict-collection", GITHUB)


def test_issue_forms_are_valid() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *FORMS)
    check(
        "check-jsonschema", "--builtin-schema", "vendor.github-issue-config", GITHUB / "ISSUE_TEMPLATE" / "config.yml"
    )


def test_hooks_are_valid_and_need_no_network() -> None:
    check("pre-commit", "validate-config", HOOKS)
    repositories = yaml.safe_load(HOOKS.read_text("utf-8"))["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    assert {hook["language"] for hook in repositories[0]["hooks"]} == {"system"}


def test_hooks_run_the_tools_of_make_lint() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert recipe is not None
    assert tools(recipe[1]) == tools(HOOKS.read_text("utf-8")) != set()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_only_read_unless_a_job_says_more(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow


def test_only_publishing_jobs_have_a_token() -> None:
    trusted = {name for name, job in jobs() if job.get("permissions", {}).get("id-token") == "write"}
    assert trusted == {"release/publish", "docs/deploy"}


def test_workflows_build_with_the_uv_of_the_makefile() -> None:
    pinned = re.search(r"uv==([\d.]+)", (ROOT / "Makefile").read_text("utf-8"))
    assert pinned is not None
    for path in WORKFLOWS:
        text = path.read_text("utf-8")
        assert set(re.findall(r"(?:UV_VERSION|version): ([\d.]+)", text)) <= {pinned[1]}, path.name


def test_targets_that_workflows_and_templates_make_exist() -> None:
    wanted = {target for line in scripts() for target in makes(line)}
    assert {"test", "test-integrations", "docs", "bundles"} <= wanted
    for path in TEMPLATES:
        wanted |= {target for code in re.findall(r"`(make [^`]+)`", path.read_text("utf-8")) for target in makes(code)}
    assert wanted <= targets()


def test_paths_that_workflows_name_exist() -> None:
    found = names()
    assert {"requirements/*.txt", "tests/runtime", ".github/workflows/wheels.yml"} <= found
    assert not [name for name in found if not list(ROOT.glob(name))]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_commands_that_forms_ask_for_exist(path: Path) -> None:
    for command in re.findall(r"`jinabert-onnx ([^`]+)`", path.read_text("utf-8")):
        if command == "--version":
            check("jinabert-onnx", command)
        else:
            _parse(_parser(_commands()), shlex.split(command))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Copy what a release is checked by."""
    (tmp_path / "runtime" / "jinabert_onnx").mkdir(parents=True)
    for name in ("CHANGELOG.md", "runtime/jinabert_onnx/version.py"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    path = tmp_path / "CHANGELOG.md"
    path.write_text("# Changelog\n\n## 7.8.9 - 2030-01-31\n\n## 7.8.8 - unreleased\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("version", "tag", "words"),
    [
        ("7.8.9", "v7.8.9", None),
        ("7.8.9", "v7.8.8", "the tag must be v7.8.9"),
        ("7.8.9", "7.8.9", "the tag must be v7.8.9"),
        ("7.8.8", "v7.8.8", "no section '## 7.8.8 - YYYY-MM-DD'"),
        ("17.8.9", "v17.8.9", "no section"),
    ],
)
def test_a_tag_is_released_if_it_is_the_version_and_the_changelog_has_its_date(
    release: Path, version: str, tag: str, words: str | None
) -> None:
    path = release / "runtime/jinabert_onnx/version.py"
    path.write_text(re.sub(r'"[\d.]+"', f'"{version}"', path.read_text("utf-8")), encoding="utf-8")
    found = runpy.run_path(str(GITHUB / "check_release.py"))["problem_of"](tag, release)
    assert found is None if words is None else words in found
