"""Computes the polynomials of `wasserstein.FAST_ROOT` and prints them.

    python scripts/fit_root.py

Each step of the iteration multiplies the root by p(w) = a + b w + c w², where w is an eigenvalue of the product of root
and inverse, which converges to 1: √w p(w) should be 1. The polynomial that minimizes the largest |1 − √w p(w)| over an
interval is found by the Remez exchange algorithm; the next one is for the remaining interval, (1 − e)² to (1 + e)².
"""

from __future__ import annotations

import numpy as np

FIRST_INTERVAL = (1e-5, 1.0)
"""Interval of the eigenvalues that converge, divided by the Frobenius norm."""

STEPS = 6
_GRID = 400_001


def minimax(low: float, high: float) -> tuple[np.ndarray, float]:
    """Finds the coefficients (a, b, c) and the largest error e of the best polynomial for w from `low` to `high`."""
    root = np.sqrt(low) + (np.sqrt(high) - np.sqrt(low)) * np.linspace(0.0, 1.0, _GRID)
    if high > 2.0 * low:  # The extremes are dense at the lower end.
        root = np.unique(np.concatenate([root, np.geomspace(root[0], root[-1], _GRID)]))
    powers = np.stack([root, root**3, root**5])
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    at = np.linspace(0, len(root) - 1, 4).astype(int)
    for _ in range(100):
        system = np.column_stack([powers[:, at].T, signs])
        *coefficients, _ = np.linalg.solve(system, np.ones(4))
        error = 1.0 - np.array(coefficients) @ powers
        before, at = at, _alternating_extremes(error)
        if np.array_equal(before, at):
            break
    return np.array(coefficients), float(np.abs(error).max())


def _alternating_extremes(error: np.ndarray) -> np.ndarray:
    """Finds the positions of four extremes with alternating signs, each the largest in a run of one sign."""
    runs = np.split(np.arange(len(error)), np.flatnonzero(np.diff(np.sign(error))) + 1)
    extremes = [run[np.abs(error[run]).argmax()] for run in runs]
    first = int(np.abs(error[extremes[:-3]]).argmax()) if len(extremes) > 4 else 0
    return np.array(extremes[first : first + 4])


def fast_root() -> list[np.ndarray]:
    """Computes and prints the polynomials of all steps."""
    low, high = FIRST_INTERVAL
    polynomials = []
    for _ in range(STEPS):
        coefficients, error = minimax(low, high)
        polynomials.append(coefficients)
        low, high = (1.0 - error) ** 2, (1.0 + error) ** 2
        print("({:.7f}, {:.7f}, {:.7f}),  # error {:.1e}".format(*coefficients, error))
    return polynomials


if __name__ == "__main__":
    fast_root()
