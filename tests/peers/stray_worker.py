"""A worker by the real protocol: token ids as vectors, until a text has the length at which it misbehaves.

stray_worker.py [die|sleep|hold|err LENGTH] ...; `unwilling` dies before it is ready.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np
from peers.worker import serve


def load():
    if "unwilling" in sys.argv:
        os._exit(7)
    manners = {int(length): manner for manner, length in zip(sys.argv[1::2], sys.argv[2::2], strict=True)}
    held = []

    def run(input_ids, attention_mask):
        manner = manners.get(input_ids.shape[1])
        if manner == "die":
            os._exit(3)
        if manner == "sleep":
            time.sleep(30)
        if manner == "hold":
            held.append(np.ones(400_000_000, np.uint8))
            time.sleep(30)
        error = 0.01 if manner == "err" else 0.0
        return np.stack([input_ids, np.ones_like(input_ids)], axis=-1).astype(np.float32) + error

    return run, {"stray": "1"}


serve(load)
