"""Texts whose vectors a bundle carries to check itself with: short, in both languages, with awkward Unicode.

Those of the command `verify`, and fewer for the self-test at load. Data only.
"""

from __future__ import annotations

PROBE_TEXTS = (
    "How is the weather today?",
    "Wie ist das Wetter heute?",
    "hello world",
    "Die Straßenbahn fährt über die Brücke, obwohl es schneit.",
    "The committee postponed its decision until the next quarter because two members were absent.",
    "def mean(values): return sum(values) / len(values)",
    "El tren llega a las ocho. 列车八点到达。 🚆",
    "a",
)

# Few tokens, because they run at every load; both languages, and characters that a tokenizer's releases may differ on.
SELF_TEST_TEXTS = ("Wie ist das Wetter heute?", "hello world", "El tren llega a las ocho. 列车八点到达。 🚆")
