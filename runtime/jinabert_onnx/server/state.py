"""Where a server stands: starting, ready, draining, or with a bundle that changed under it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class State:
    """Changed by the event loop's thread only.

    Attributes:
        warm: whether the first batches have run.
        draining: whether it is about to end, and takes what comes as the last of its connection.
        changed: whether a file that a model reads was overwritten, after which no request is answered by it.
    """

    warm: bool = False
    draining: bool = False
    changed: bool = False

    @property
    def ready(self) -> bool:
        """Return whether requests should come here."""
        return self.warm and not self.draining and not self.changed

    @property
    def word(self) -> str:
        """Return the state in a word."""
        if self.draining:
            return "draining"
        if self.changed:
            return "bundle changed"
        return "ready" if self.warm else "starting"
