"""Where things are, and the documented commands of docs/guides/examples.md."""

from __future__ import annotations

import re

from support.paths import ROOT

PATIENCE = 120.0  # seconds that nothing here should take


def documented(heading: str) -> list[str]:
    """The commands below a heading of docs/guides/examples.md, without their comments."""
    page = (ROOT / "docs" / "guides" / "examples.md").read_text("utf-8")
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return re.findall(r"^    (?! )(\S.*?)(?:\s+#.*)?$", section, re.MULTILINE)
