"""What makes the figures of a record doubtful: a busy or changing machine, too many threads."""

from __future__ import annotations

from collections.abc import Iterator

from .record import Record

_BUSY = 0.5  # running processes a CPU before the run, above which it was busy; an earlier bench counts too
_DRIFT = 0.10  # of the machine's rate between rounds


def doubts(record: Record) -> Iterator[str]:
    """Yield each in words."""
    machine = record.machine
    if machine.load is not None and machine.load > _BUSY * machine.cpus:
        yield f"the machine was busy before the bench began (load {machine.load:.1f} on {machine.cpus} CPUs)"
    most = max(found.threads for found in record.ceilings)
    if most > machine.cpus:
        yield f"{most} threads shared {machine.cpus} CPUs"
    for found in record.ceilings:
        for kind in ("fp32", "int8"):
            rates = [getattr(rates, kind) for rates in found.rounds[1:]]
            if rates and min(rates) < (1 - _DRIFT) * max(rates):
                threads = f"{found.threads} thread{'' if found.threads == 1 else 's'}"
                yield (
                    f"{kind} products with {threads} ran at {min(rates) / 1e9:.0f} to "
                    f"{max(rates) / 1e9:.0f} Gop/s from round to round: the machine's speed varied"
                )
