"""What the site makes of links that leave docs/: pages of their own, or the path as text.

On the repository's pages such links work as they stand. The site has no repository to point to, so a link to a file
that is neither in docs/ nor in PAGES becomes its path. Knows nothing of the theme.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PAGES = {
    "CHANGELOG.md": "contributing/changelog.md",
    "benchmarks/RESULTS.md": "reference/side-by-side.md",
}  # of the repository, of the site

_LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"(^```.*?^```|(?:^ {4}[^\n]*\n)+)", re.M | re.S)  # fenced or indented


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add PAGES."""
    root = Path(config.config_file_path).parent
    for source, name in PAGES.items():
        files.append(File.generated(config, name, content=(root / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Rewrite the links that leave docs/; code stays as it is."""
    home = _home(page.file.src_uri)
    depth = page.file.src_uri.count("/")
    pieces = _CODE.split(markdown)
    return "".join(
        piece if place % 2 else _LINK.sub(lambda link: _rewritten(link, home, depth), piece)
        for place, piece in enumerate(pieces)
    )


def _home(src_uri: str) -> str:
    """The folder of the repository that a page's links start from."""
    origin = {name: source for source, name in PAGES.items()}.get(src_uri, f"docs/{src_uri}")
    return posixpath.dirname(origin)


def _rewritten(link: re.Match[str], home: str, depth: int) -> str:
    target, _, anchor = link["target"].partition("#")
    if "://" in target or target.startswith("mailto:") or not target:
        return link[0]
    path = posixpath.normpath(posixpath.join(home, target))
    up = "../" * depth
    if link["picture"]:
        return f"![{link['text']}]({up}{path.removeprefix('docs/')})"
    if path.startswith("docs/"):
        inside = path.removeprefix("docs/")
    elif path in PAGES:
        inside = PAGES[path]
    else:
        return link["text"] if path in link["text"] else f"{link['text']} (`{path}`)"
    return f"[{link['text']}]({up}{inside}{'#' if anchor else ''}{anchor})"
