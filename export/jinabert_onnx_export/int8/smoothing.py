"""Channel equalisation: per-channel factors that make activations easier to round, moved into the weights.

x W = (x / s) (s W). With a token's row rounded by its largest channel, one large channel costs all others their
precision; dividing by s = activation^a / weight^(1 - a), and multiplying the weights, shares the difficulty.
Source: Xiao et al., "SmoothQuant" (arXiv:2211.10438). The exponent, and whether an activation's size is its largest
or its typical one, are chosen for each product by the error they leave on calibration rows. numpy only.
"""

from __future__ import annotations

import numpy as np

from .activations import Activations
from .rounding import Floats, quantize_rows, quantize_weight

FLOOR = 0.3  # of the median channel: one that calibration hardly used may be used by other texts
EXPONENTS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def best_smoothing(inputs: Activations, weight: Floats, *, typical: bool = False) -> Floats:
    """Return the factors s (K), of geometric mean 1, for a weight (K, N) that is fed `inputs`.

    `typical` also tries a channel's mean square in the rows for how large it is: for rows of which some matter more.
    """
    exact = inputs.sample @ weight  # (rows, N)
    sizes = [inputs.largest]
    if typical:
        sizes.append(_in_steps(np.sqrt(np.square(inputs.sample).mean(axis=0))))
    candidates = [smoothing_factors(size, weight, exponent) for size in sizes for exponent in EXPONENTS]
    return min(candidates, key=lambda factors: _error(inputs.sample, weight, factors, exact))


def smoothing_factors(size: Floats, weight: Floats, exponent: float) -> Floats:
    """Compute activation^exponent / weight^(1 - exponent) of each channel, all 1 where the exponent is 0.

    `size` (K) is how large the activations are, a largest or a typical value.
    """
    if exponent == 0:
        return np.ones_like(size)
    floor = max(FLOOR * float(np.median(size)), 1e-5)
    activation = np.log(np.maximum(size, floor))
    width = np.log(np.maximum(np.abs(weight).max(axis=1), 1e-5))
    factors = exponent * activation - (1 - exponent) * width
    factors = np.exp(factors - factors.mean())
    return np.asarray(factors, np.float32)


def _in_steps(sizes: Floats) -> Floats:
    """Each to the nearest of steps of 2 %: the last digits of means depend on the threads that torch computed with."""
    return np.asarray(np.exp(np.round(np.log(np.maximum(sizes, 1e-5)) * 50) / 50), np.float32)


def _error(rows: Floats, weight: Floats, factors: Floats, exact: Floats) -> float:
    """Return the mean square of what rounding both sides changes in the product."""
    integers, scale = quantize_weight(weight * factors[:, None])
    product = quantize_rows(rows / factors) @ (integers * scale)
    return float(np.square(product - exact).mean())
