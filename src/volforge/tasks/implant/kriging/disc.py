"""Directions about the vertex as a disc of pixels of equal area: the domain of the two surfaces of a skull.

Lambert's azimuthal equal-area projection: a direction of colatitude t and azimuth p lies at distance 2 R sin(t / 2)
from the middle pixel. Every pixel stands for the same solid angle, so that no part of the vault is seen more often.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from volforge.volume.geometry import Array


@dataclass(frozen=True)
class Disc:
    """A disc of directions.

    Attributes:
        pixel_mm: Edge of a pixel on a sphere of the radius, in mm.
        radius_mm: Radius at which pixels have that size.
        colatitude_deg: Angle from the vertex at which the disc ends.
    """

    pixel_mm: float = 1.5
    radius_mm: float = 80.0
    colatitude_deg: float = 118.0

    @cached_property
    def half(self) -> int:
        """Index of the middle pixel, which is the vertex, along both axes."""
        edge = 2 * self.radius_mm * np.sin(np.deg2rad(self.colatitude_deg) / 2)
        return int(np.ceil(edge / self.pixel_mm))

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels along x (to the right) and y (to the front)."""
        return 2 * self.half + 1, 2 * self.half + 1

    @cached_property
    def colatitudes(self) -> Array:
        """(N, N) angle from the vertex, in degrees; 180 beyond the sphere."""
        along = (np.arange(self.shape[0]) - self.half) * self.pixel_mm
        sine = np.hypot(*np.meshgrid(along, along, indexing="ij")) / (2 * self.radius_mm)
        return np.rad2deg(2 * np.arcsin(np.clip(sine, 0, 1)))

    @cached_property
    def directions(self) -> Array:
        """(N, N, 3) unit vectors: right, front, up."""
        along = (np.arange(self.shape[0]) - self.half) * self.pixel_mm
        x, y = np.meshgrid(along, along, indexing="ij")
        azimuth = np.arctan2(y, x)
        polar = np.deg2rad(self.colatitudes)
        flat = np.sin(polar)
        return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.cos(polar)], axis=-1)

    @cached_property
    def inside(self) -> Array:
        """(N, N) whether a pixel belongs to the disc."""
        return self.colatitudes <= self.colatitude_deg

    def locate(self, points: Array) -> tuple[Array, Array]:
        """Radii and pixel coordinates of points.

        Args:
            points: (..., 3) in mm about the centre.

        Returns:
            Radii (...), in mm, and coordinates (2, ...), in pixels.
        """
        radius = np.sqrt((points**2).sum(axis=-1))
        cosine = np.clip(points[..., 2] / np.maximum(radius, 1e-6), -1, 1)
        flat = np.hypot(points[..., 0], points[..., 1])
        from_middle = 2 * self.radius_mm * np.sqrt((1 - cosine) / 2)
        scale = from_middle / np.maximum(flat, 1e-6) / self.pixel_mm
        return radius, np.stack([points[..., 0] * scale + self.half, points[..., 1] * scale + self.half])


def mirrored(maps: Array) -> Array:
    """Maps (..., N, N) of the skull seen in a mirror: right and left exchanged."""
    return maps[..., ::-1, :]
