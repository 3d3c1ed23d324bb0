"""How fast a bundle is on a machine, its cold start and memory: `jinabert-onnx bench`.

Wanted ──plan, subject, texts──▶ cells ──timing──▶ samples ────────────────────────────────────┐
bundle ──processes──▶ cold starts and memory of fresh processes ───────────────────────────────┼─sweep─▶ Record
machine ──roofline─▶ rates of matrix products, before and between the rounds ──────────────────┘
Record ──summary, table──▶ what people read; two of them ──compare, verdicts──▶ what changed

Imports what the runtime imports.
"""

from .compare import Comparison, compare
from .plan import Wanted
from .record import Record, read_record
from .sweep import run_bench

__all__ = ["Comparison", "Record", "Wanted", "compare", "read_record", "run_bench"]
