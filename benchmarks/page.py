"""The results page and its picture, from what side_by_side.py has kept with `--results`.

    python benchmarks/page.py [--ids FILE] [--texts FILE] [--output benchmarks/RESULTS.md]

The two tables may come of one run or of two. Nothing is measured: the same files give the same page. Needs matplotlib
(extra `plots`) for the picture.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from peers import page, plots, sheet

HERE = Path(__file__).resolve().parent
IDS = HERE / "results" / "side_by_side.json"
TEXTS = HERE / "results" / "side_by_side_texts.json"
PAGE = HERE / "RESULTS.md"
PICTURE = "results/side_by_side.png"  # as seen from the page


def read(results: Path) -> dict[str, Any]:
    """Return the record at `results`.

    Raises:
        SystemExit: there is none, or it is another benchmark's or of another form.
    """
    try:
        record: dict[str, Any] = json.loads(results.read_text("utf-8"))
        complete = record["benchmark"] == "side_by_side" and "command" in record and "limits" in record["results"]
    except (OSError, ValueError, KeyError) as error:
        raise SystemExit(f"error: {results} cannot be read: {error!r}") from None
    if not complete:
        raise SystemExit(f"error: {results} was not written by side_by_side.py --results")
    return record


def main() -> None:
    """Write the page, and the picture beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", type=Path, default=IDS, help="run with those that take ids (default: %(default)s)")
    parser.add_argument("--texts", type=Path, default=TEXTS, help="with those that take texts (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=PAGE, help="default: RESULTS.md")
    arguments = parser.parse_args()
    ids, texts = read(arguments.ids), read(arguments.texts)
    records = {f"results/{arguments.ids.name}": ids, f"results/{arguments.texts.name}": texts}
    figures = sheet.join(sheet.read(ids["results"]), sheet.read(texts["results"]))
    picture = arguments.output.parent / PICTURE
    picture.parent.mkdir(parents=True, exist_ok=True)
    plots.draw(figures, picture)
    arguments.output.write_text(page.render(records, figures, PICTURE), "utf-8")
    print(f"wrote {arguments.output} and {picture}", file=sys.stderr)


if __name__ == "__main__":
    main()
