"""What an MR of random contrast is painted with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Painting:
    """Options of painting. Lengths are in mm, so that they hold at every pixel size.

    Attributes:
        prior: `random`: tissues may have any order of greys; `t1`: that of T1-weighted scans.
        fluid: Paint compact pieces of fluid, dark or bright, where the CT has soft tissue: what is dark and compact
            in an MR need not be air.
        trunk: Look for lungs, and give organs greys of their own; heads look the same with it.
        arms: Share of trunks that `with_arms` gives arms.
        lesions: Share of samples with a lesion.
        bias: Largest standard deviation of the logarithm of the bias field.
        blur_mm: Smallest and largest standard deviation of the blur, drawn for each axis.
        noise: Smallest and largest standard deviation of the noise, as a share of the brightest tissue.
        outline_mm: By how much the outline is off in half of the samples, at least a pixel; 0: never.
        window: Percentiles inside the outline that become -1 and 1, as in the recipe.
        slack: Largest share by which the window of a scan is wider than that of the slab.
        gamma: Smallest and largest exponent.
        turn_degrees, scale, shift: Largest turn, change of size as a share, and shift as a share of the side.
        flip: Flip columns in half of the samples.
        elastic_mm: Standard deviation of the elastic shift.
        elastic_cell_mm: Distance between the knots of the elastic shift.
    """

    prior: Literal["random", "t1"] = "random"
    fluid: bool = True
    trunk: bool = True
    arms: float = 0.5
    lesions: float = 0.25
    bias: float = 0.35
    blur_mm: tuple[float, float] = (0.6, 1.8)
    noise: tuple[float, float] = (0.005, 0.05)
    outline_mm: float = 2.0
    window: tuple[float, float] = (0.5, 99.5)
    slack: float = 0.2
    gamma: tuple[float, float] = (0.75, 1.35)
    turn_degrees: float = 11.0
    scale: float = 0.1
    shift: float = 0.06
    flip: bool = True
    elastic_mm: float = 4.0
    elastic_cell_mm: float = 40.0
