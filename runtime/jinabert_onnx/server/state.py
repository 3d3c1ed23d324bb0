"""Where a server stands: starting, ready, or draining."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class State:
    """Changed by the event loop's thread only.

    Attributes:
        warm: whether the first batches have run.
        draining: whether it is about to end, and takes what comes as the last of its connection.
    """

    warm: bool = False
    draining: bool = False

    @property
    def ready(self) -> bool:
        """Whether requests should come here."""
        return self.warm and not self.draining

    @property
    def word(self) -> str:
        """The state in a word."""
        if self.draining:
            return "draining"
        return "ready" if self.warm else "starting"
