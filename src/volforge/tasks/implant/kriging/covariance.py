"""How the two surfaces of a skull vary about their mean: a covariance of chord lengths, with a part that is symmetric.

A sum of Matern kernels of smoothness 3/2 over the length of the chord between two places on the mean surface. A term
is common to both surfaces or belongs to one; it is plain, k(x, x'), or symmetric, k(x, x') + k(x, Mx'), M being the
mirror (Rasmussen and Williams 2006, equation 4.17, for the kernel). `likelihood` fits the variances of the terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np

from volforge.volume.geometry import Array

LENGTHS_MM = (6.0, 12.0, 24.0, 48.0, 96.0)
OWNERS = ("common", "inner", "outer")
PER_MM = 32
"""Entries of the tables of a kernel by mm; between them it is interpolated."""
TABLE_MM = 400.0


def matern(distance: Array, length: float) -> Array:
    """Matern kernel of smoothness 3/2 and variance 1."""
    scaled = np.sqrt(3.0) * distance / length
    return np.asarray((1 + scaled) * np.exp(-scaled))


@dataclass(frozen=True)
class Covariance:
    """A covariance of values (place, surface).

    Attributes:
        variances: (3, 2, L) in mm2: of the terms common, inner, outer; plain, symmetric; by length.
        lengths: L lengths in mm.
        gain: (2,) factor of the variance of the inner and the outer surface, from calibration.
        offset_mm: Standard deviation of an offset of each surface as a whole; 0: none.
        nugget_mm: Standard deviation of what varies from pixel to pixel, the noise of an observation.
    """

    variances: Array
    lengths: tuple[float, ...] = LENGTHS_MM
    gain: tuple[float, float] = (1.0, 1.0)
    offset_mm: float = 0.0
    nugget_mm: float = 0.12

    @cached_property
    def tables(self) -> Array:
        """(2, 3, n) plain and mirrored kernel over distance, for the pairs inner-inner, outer-outer and across."""
        distance = np.arange(int(TABLE_MM * PER_MM) + 2) / PER_MM
        found = np.zeros((2, 3, len(distance)))
        for number, length in enumerate(self.lengths):
            shape = matern(distance, length)
            for owner in range(3):
                plain, symmetric = self.variances[owner, :, number]
                for pair in range(3):
                    if owner in (0, pair + 1):
                        found[0, pair] += (plain + symmetric) * shape
                        found[1, pair] += symmetric * shape
        found[0, :2] += self.offset_mm**2
        gains = np.sqrt(np.array([self.gain[0] ** 2, self.gain[1] ** 2, self.gain[0] * self.gain[1]]))
        return np.ascontiguousarray(found * gains[:, None])

    def between(self, first: Places, second: Places) -> Array:
        """(n, m) covariance of values at places, mm2."""
        return _between(
            first.points, first.surfaces, second.points, second.surfaces, self.tables, bool(self.tables[1].any())
        )

    def of(self, places: Places) -> Array:
        """(n,) variance of the value at each place, mm2."""
        across = 2 * np.abs(places.points[:, 0]) * PER_MM
        index = np.minimum(across.astype(int), self.tables.shape[2] - 2)
        part = across - index
        found = self.tables[0, places.surfaces, 0].copy()
        own = self.tables[1, places.surfaces, index] * (1 - part) + self.tables[1, places.surfaces, index + 1] * part
        return np.asarray(found + own)


@dataclass(frozen=True)
class Places:
    """Places on the mean surface.

    Attributes:
        points: (n, 3) mm, in the frame.
        surfaces: (n,) 0 inner, 1 outer.
    """

    points: Array
    surfaces: Array


@numba.njit(cache=True)
def _between(first, of_first, second, of_second, tables, symmetric):  # type: ignore[no-untyped-def]
    found = np.empty((len(first), len(second)))
    last = tables.shape[2] - 2
    for a in range(len(first)):
        x, y, z = first[a, 0], first[a, 1], first[a, 2]
        for b in range(len(second)):
            pair = of_first[a] if of_first[a] == of_second[b] else 2
            dy, dz = y - second[b, 1], z - second[b, 2]
            flat = dy * dy + dz * dz
            dx = x - second[b, 0]
            d = np.sqrt(dx * dx + flat) * PER_MM
            i = min(int(d), last)
            part = d - i
            value = tables[0, pair, i] * (1 - part) + tables[0, pair, i + 1] * part
            if symmetric:
                dx = x + second[b, 0]
                d = np.sqrt(dx * dx + flat) * PER_MM
                i = min(int(d), last)
                part = d - i
                value += tables[1, pair, i] * (1 - part) + tables[1, pair, i + 1] * part
            found[a, b] = value
    return found


def terms(covariance: Covariance) -> Mapping[str, float]:
    """Standard deviations in mm of the terms that are not zero, by name."""
    return {
        f"{owner}, {'symmetric' if s else 'plain'}, {length:g} mm": round(float(np.sqrt(v)), 3)
        for o, owner in enumerate(OWNERS)
        for s in (0, 1)
        for length, v in zip(covariance.lengths, covariance.variances[o, s], strict=True)
        if v > 1e-6
    }
