"""Analytic joints: a spherical condyle under half a spherical shell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.volume.geometry import Array, Grid

RADIUS, INNER, OUTER = 6.0, 10.0, 13.0
UNDER_FOSSA_MM3 = 2 * np.pi / 3 * (INNER**3 - RADIUS**3)  # 1642


@dataclass(frozen=True)
class Analytic:
    """Masks of a joint and their grid."""

    condyle: Array
    barrier: Array
    grid: Grid


def turned(degrees: tuple[float, float, float]) -> Array:
    """Rotation matrix about x, y, z in this order."""
    found = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        i, j = [a for a in range(3) if a != axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        found = step @ found
    return found


def joint(
    spacing: tuple[float, float, float] = (0.4, 0.4, 0.4),
    *,
    scale: float = 1.0,
    kind: str = "half",
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
    mirrored: bool = False,
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
    gap: float = INNER - RADIUS,
    extent: float = 50.0,
) -> Analytic:
    """A joint on a grid; the fossa lies above it in the patient's frame, whatever the grid's turn.

    Args:
        spacing: mm.
        scale: Of everything, the grid too.
        kind: `half` (fossa over the upper half), `closed` (all around), `none`.
        turn: Of the grid, degrees.
        mirrored: Second axis runs from anterior to posterior: a left-handed grid.
        centre: Of the condyle, RAS mm.
        gap: Between condyle and fossa, before scaling.
        extent: Edge of the grid, before scaling.
    """
    shape = tuple(int(np.ceil(extent / s)) for s in spacing)
    matrix = np.eye(4)
    matrix[:3, :3] = turned(turn) @ np.diag(spacing) * scale
    if mirrored:
        matrix[:3, 1] *= -1
    matrix[:3, 3] = np.array(centre) - matrix[:3, :3] @ ((np.array(shape) - 1) / 2 + 0.07)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    mm = index @ matrix[:3, :3].T + matrix[:3, 3] - np.array(centre)
    r = np.linalg.norm(mm, axis=-1) / scale
    shell = (r >= RADIUS + gap) & (r <= OUTER - INNER + RADIUS + gap)
    barrier = {"half": shell & (mm[..., 2] >= 0), "closed": shell, "none": np.zeros(shape, bool)}[kind]
    x, y, z = shape
    return Analytic(r < RADIUS, barrier, Grid((x, y, z), matrix))
