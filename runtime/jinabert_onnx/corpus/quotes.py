"""Where a quoted field of CSV that goes on from line to line was opened. Knows no files and no rows."""

from __future__ import annotations

LONGEST = (
    100  # lines that a quoted field may run over; of a quote gone astray it would swallow all rows to the next one
)


class OpenQuote:
    """Follows the lines of one record of which each but the last ends inside quotes.

    Attributes:
        start: where the line begins in which the field that is open was opened, as `follow` was told.
        lines: lines that this field has run over so far.
    """

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter
        self.start, self.lines = 0, 0

    def follow(self, line: str, start: int) -> None:
        """Take the next line, which begins at byte `start`, and ends inside quotes."""
        at = 0
        if self.lines:
            self.lines += 1
            at = self._after_quote(line, 0)
        while at < len(line):
            if line[at] == '"':
                self.start, self.lines = start, 1
                at = self._after_quote(line, at + 1)
            at = self._after_delimiter(line, at)

    def _after_quote(self, line: str, at: int) -> int:
        """Behind the quote that closes the field; a doubled one stands for itself."""
        while (found := line.find('"', at)) >= 0:
            if line[found + 1 : found + 2] != '"':
                return found + 1
            at = found + 2
        return len(line)

    def _after_delimiter(self, line: str, at: int) -> int:
        found = line.find(self._delimiter, at)
        return len(line) if found < 0 else found + 1
