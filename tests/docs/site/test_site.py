"""The site builds without a warning, loads nothing from elsewhere, and its links lead somewhere.

Runs where mkdocs is installed, and neither onnxruntime nor torch.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from support.paths import ROOT

LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}  # what a browser fetches


class Page(HTMLParser):
    """What a page loads, links to, and can be linked to at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one tag."""
        found = {name: value for name, value in attrs if value}
        if tag in LOADS and LOADS[tag] in found:
            self.loads.append(found[LOADS[tag]])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.anchors |= {found[name] for name in ("id", "name") if name in found}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", directory],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_pages_load_nothing_from_elsewhere(pages: dict[Path, Page], site: Path) -> None:
    loads = {target for page in pages.values() for target in page.loads}
    assert not [target for target in loads if urlsplit(target).netloc]
    styles = "".join(path.read_text("utf-8") for path in site.rglob("*.css"))
    assert not re.findall(r"(?:@import|url\()\s*['\"]?(?:https?:)?//[^)]*", styles)


def test_what_pages_load_and_link_to_is_there(pages: dict[Path, Page], site: Path) -> None:
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are from the root
            continue
        for target in (*page.loads, *page.links):
            address, anchor = urldefrag(target)
            if urlsplit(address).scheme or target.startswith("//"):
                continue
            found = (path.parent / unquote(address)).resolve() if address else path
            found = found / "index.html" if found.is_dir() else found
            if not found.is_file() or (
                anchor and found.suffix == ".html" and unquote(anchor) not in pages[found].anchors
            ):
                broken.append(f"{path.relative_to(site)}: {target}")
    assert not broken


def test_links_between_pages_of_the_repository_resolve() -> None:
    broken = []
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = re.sub(r"^```.*?^```|^ {4}[^\n]*$", "", path.read_text("utf-8"), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            place, anchor = urldefrag(target)
            if urlsplit(place).scheme:
                continue
            found = (path.parent / place).resolve() if place else path
            headings = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), re.M) if found.suffix == ".md" else []
            made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            generated = "docs/reference/api" in str(
                found
            )  # its anchors are made of docstrings; the site's test has them
            if not found.exists() or (anchor and not generated and anchor not in made):
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert not broken


def test_the_reference_has_what_users_call(pages: dict[Path, Page], site: Path) -> None:
    anchors = pages[site / "reference/api/embedder/index.html"].anchors
    for name in ("load", "encode", "encode_with_report", "encode_stream", "encode_chunks", "similarity", "close"):
        assert f"jinabert_onnx.Embedder.{name}" in anchors


@pytest.mark.parametrize("name", ["encode", "encode_with_report", "encode_stream", "encode_query", "encode_document"])
def test_the_reference_shows_every_option_and_what_it_means(site: Path, name: str) -> None:
    page = (site / "reference/api/embedder/index.html").read_text("utf-8")
    section = page.partition(f'id="jinabert_onnx.Embedder.{name}"')[2].partition('id="jinabert_onnx.Embedder.')[0]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", section))
    for option, meaning in {
        "batch_size": "most texts that run together",
        "truncate_dim": "keep the first channels only",
        "truncation": "reads its beginning and gives a TruncationWarning",
        "timeout": "seconds after which the call ends",
        "cancellation": "ends the call from another thread",
        "device": "only where the model runs",
    }.items():
        assert re.search(rf"\b{option} \([^–]*default: [^–]*\) – [^–]*{re.escape(meaning)}", text), option
    assert "**options" not in text


def test_the_search_knows_the_messages(site: Path) -> None:
    assert "lone surrogate" in (site / "search/search_index.json").read_text("utf-8")
