"""Mutations of files, and processes that read what comes of them: for the tests of both packages.

Cases run in a child process, many in each, with a limit on memory and on the time of a case; one that ends the child
is a finding. A case is its kind and its number, which say everything that is drawn at random in it:
`python tests/runtime/test_fuzzing.py KIND NUMBER` runs it again. JINABERT_ONNX_FUZZ=100 makes a hundred times as many.
"""

from __future__ import annotations

import copy
import faulthandler
import json
import math
import os
import resource
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from jinabert_onnx import JinaBertError, TruncationWarning
from support.python import run_python

TIMES = int(os.environ.get("JINABERT_ONNX_FUZZ", "1"))
SECONDS = 30  # of one case
MEMORY = 256 << 20  # bytes that cases may take beyond what there was before the first
LONGEST_MESSAGE = 2000  # characters
DEATHS = 5  # of children, after which there are findings enough

Case = Callable[[Random], None]  # raises JinaBertError if the mutation was refused, AssertionError if the result is bad
Kinds = Mapping[str, Callable[[Path], Case]]  # each makes a case, for a directory to work in

ODD = [
    None, True, False, -1, 0, 1, 2, 2**31, 2**63, 2**64, 10**400, 0.5, -1.5, 1e308, math.nan, math.inf, "", "\0",
    "\ud800", "../x", "a" * 100_000, "ä", [], {}, [[]], [None], {"": 0}, {"type": "Sequence"},
]  # fmt: skip


def mutate_bytes(content: bytes, random: Random) -> bytes:
    """One to four small edits anywhere."""
    edited = bytearray(content)
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(edited) + 1)
        stop = min(len(edited), start + random.choice((0, 1, 1, 1, 2, 8, 64)))
        inserted = random.choice(
            (b"", b"\0", b"\xff", b'"', b"[", b"{", b"9" * 20, b"-", random.randbytes(random.randint(1, 4)))
        )
        edited[start:stop] = inserted if stop > start or inserted else edited[: random.randrange(64)]
    return bytes(edited[: random.randrange(len(edited))] if random.random() < 0.1 else edited)


def mutate_json(content: bytes, random: Random) -> bytes:
    """Values replaced by odd ones or by others of the document, removed, or moved to other names."""
    document = json.loads(content)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        places = list(_places(document))
        container, key = random.choice(places)
        action = random.randrange(4)
        if action == 0:
            container[key] = copy.deepcopy(random.choice(ODD))
        elif action == 1:
            del container[key]
        elif action == 2:
            other, name = random.choice(places)
            container[key] = copy.deepcopy(other[name])
        elif isinstance(container, dict):
            container[random.choice((f"{key}x", "", "../x", "type"))] = container.pop(key)
        if not document:
            break
    return json.dumps(document).encode()


def _places(value: object) -> list[tuple]:
    """Every value inside, as its container and its key; of long lists and objects the first ones only."""
    found: list[tuple] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items)[:20]:
        found += [(value, key), *_places(inner)]
    return found


def mutate_text(content: bytes, random: Random) -> bytes:
    """A mutation of JSON, by its structure or by its bytes."""
    return mutate_json(content, random) if random.random() < 0.7 else mutate_bytes(content, random)


# The child: a line a case, "NUMBER OUTCOME".


def run_child(kinds: Kinds, arguments: Sequence[str]) -> None:
    """Run cases of one kind, from a number up to another, or the one case of a number."""
    kind, first, *rest = arguments
    faulthandler.enable()
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", TruncationWarning)
    with tempfile.TemporaryDirectory() as name:
        os.environ["JINABERT_ONNX_CACHE"] = name
        case = kinds[kind](Path(name))
        limit_memory()
        most = peak_memory() + MEMORY
        for number in range(int(first), int(rest[0]) if rest else int(first) + 1):
            signal.alarm(SECONDS)  # ends the process
            found = outcome(case, Random(f"{kind} {number}"))
            sys.stdout.write(f"{number} {found if peak_memory() <= most else 'too much memory'}\n")
            sys.stdout.flush()
    signal.alarm(0)


def limit_memory() -> None:
    """Let allocations fail that take more than `MEMORY` and what they may share, and no core be written."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 4 * MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def peak_memory() -> int:
    """Most bytes that this process has used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def outcome(case: Case, random: Random) -> str:
    """ "right", "refused", or what went wrong, in one line."""
    try:
        case(random)
    except JinaBertError as error:
        message = str(error)
        if len(message) > LONGEST_MESSAGE or not message.isprintable():
            return f"a message of {len(message)} characters: {message[:300]!r}"
        return "refused"
    except BaseException as error:  # also what other languages' panics become
        return f"{type(error).__name__} {str(error)[:300]!r}"
    return "right"


# The parent.


def fuzz(script: str, kind: str, count: int) -> Counter[str]:
    """How often each outcome was found, findings with their number; behind a case that ends a child goes another on."""
    outcomes: dict[int, str] = {}
    deaths = 0
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}  # `support` and this module
    while len(outcomes) < count and deaths < DEATHS:
        result = run_python(script, kind, len(outcomes), count, env=environment, timeout=None)
        lines = [line.split(" ", 1) for line in result.stdout.splitlines()]
        outcomes |= {int(number): found for number, found in lines}
        if len(outcomes) < count:
            outcomes[len(outcomes)] = f"the child ended with {result.returncode}: {result.stderr[-2000:]}"
            deaths += 1
    return Counter(
        found if found in ("right", "refused") else f"{kind} {number}: {found}" for number, found in outcomes.items()
    )
