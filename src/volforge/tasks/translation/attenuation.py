"""What a radiation meets in a CT: linear attenuation at 511 keV, and relative stopping power of protons.

Both are approximations that follow from HU alone; they compare a synthetic CT with the true one and claim no dose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.geometry import Array

WATER_PER_CM = 0.096
DEFAULT_KVP = 120
SOFT_HU, DENSE_HU = 47.0, 1500.0  # between them the stopping number falls
DENSE_NUMBER = 0.955
STEEP = 9.6e-5  # per cm and HU, below the break


@dataclass(frozen=True)
class Curve:
    """The straight line above the break: per cm, `slope` (HU + 1000) + `offset`."""

    above_hu: float
    slope: float
    offset: float


# Carney, Townsend, Rappoport, Bendriem, "Method for transforming CT images for attenuation correction in PET/CT
# imaging", Med. Phys. 33(4), 2006, as the public package mlfourdfp quotes it
CURVES: Mapping[int, Curve] = MappingProxyType(
    {80: Curve(50, 3.64e-5, 6.26e-2), 120: Curve(47, 5.10e-5, 4.71e-2), 140: Curve(30, 5.64e-5, 4.08e-2)}
)


def linear_attenuation(hu: Array, kvp: int = DEFAULT_KVP) -> Array:
    """Linear attenuation at 511 keV by the bilinear curve of a tube voltage.

    Args:
        hu: HU, any shape; below -1000 counts as -1000.
        kvp: 80, 120 or 140 kV.

    Returns:
        Per cm: 0 of vacuum, .096 of water; float64 of the same shape.

    Raises:
        VolforgeError: A voltage without a curve.
    """
    if kvp not in CURVES:
        raise VolforgeError(
            f"no attenuation curve for {kvp} kVp", "kvp", f"one of {', '.join(map(str, CURVES))}, or none"
        )
    curve = CURVES[kvp]
    x = np.maximum(np.asarray(hu, np.float64), -1000.0)
    return np.where(x < curve.above_hu, STEEP * (x + 1000), curve.slope * (x + 1000) + curve.offset)


def stopping_power(hu: Array, kvp: int = DEFAULT_KVP, *, photons: bool = False) -> Array:
    """Stopping power of protons relative to water: attenuation over that of water, times a stopping number.

    Attenuation at 511 keV follows the electron density. The stopping number is 1 up to 47 HU and falls in a line to
    .955 at 1500 HU, where it stays (Bethe's ratio of cortical bone at 150 MeV is .951 to .957): our approximation.

    Args:
        hu: HU, any shape.
        kvp: Tube voltage.
        photons: Without the stopping number: the water-equivalent path of photons.

    Returns:
        0 at -1000 HU, 1 at 0, 1.74 at 1500.
    """
    relative = linear_attenuation(hu, kvp) / WATER_PER_CM
    return relative if photons else relative * np.interp(hu, [SOFT_HU, DENSE_HU], [1.0, DENSE_NUMBER])
