"""Texts whose vectors a bundle carries to check itself with: short, in both languages, with awkward Unicode.

Those of the command `verify`, and fewer for the self-test at load. Of a cross-encoder: pairs, whose logits it carries.
Data only.
"""

from __future__ import annotations

from jinabert_onnx.text.pairs import TextOrPair

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

_QUERIES = (
    "How is the weather today?",
    "Wann fährt die Straßenbahn?",
    "mean of a list in Python",
    "Why was the decision postponed?",
    "¿A qué hora llega el tren? 🚆",
    "hello",
)
_DOCUMENTS = (
    "In the morning it rains, but in the afternoon the sun comes out and it gets warm, up to 21 °C.",
    "Die Straßenbahn fährt werktags alle zehn Minuten über die Brücke, auch wenn es schneit.",
    "def mean(values): return sum(values) / len(values)",
    "The committee postponed its decision until the next quarter because two members were absent.",
    "El tren llega a las ocho. 列车八点到达。",
    "hello world",
)

# Each query with each document, so that there is an order to compare; and single texts, as classifiers take them.
PROBE_PAIRS: tuple[TextOrPair, ...] = (
    *((query, document) for query in _QUERIES for document in _DOCUMENTS),
    "Wie ist das Wetter heute?",
    "a",
)
SELF_TEST_PAIRS: tuple[TextOrPair, ...] = (
    ("Wie ist das Wetter heute?", "Heute scheint die Sonne."),
    ("hello", "El tren llega a las ocho. 列车八点到达。 🚆"),
    "hello world",
)
