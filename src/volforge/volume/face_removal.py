"""The face in a head, so that pictures can leave it out: skin over brow, eyes, nose, mouth and chin.

What is hidden ends at a smooth front that no feature of the face has shaped: an inner copy of the surface would still
show who it is. Pictures only; volumes keep their voxels.
"""

from __future__ import annotations

import numpy as np

from volforge.volume.geometry import Array

BROW_MM = 85.0  # below the vertex; in adults the brow lies some 95 mm below it (Farkas 1994), in children less
DEPTH_MM = 45.0  # behind the foremost point: eyes lie 25 to 30 mm behind the tip of the nose, their outer corners 40
WINDOW_MM = 60.0  # of levels whose foremost point counts: from the nose to eyes and chin
STEP_MM = 5.0  # of the front: the place of the tip of a nose is told no finer


def face_region(body: Array, spacing: tuple[float, float, float]) -> Array:
    """Where the face of a head lies.

    Below the brow, from a front on that lies `DEPTH_MM` behind the foremost point of the levels around. A body that
    the field of view cuts above has no known vertex: then the brow is taken to be its upper end.

    Args:
        body: (X, Y, Z) bool in RAS order, the head or more of a body.
        spacing: Voxel size in mm.

    Returns:
        (X, Y, Z) bool: what pictures leave out.
    """
    from scipy.ndimage import maximum_filter1d

    hidden = np.zeros(body.shape, dtype=bool)
    rows = np.asarray(body.any(axis=0))  # (Y, Z)
    levels = np.flatnonzero(rows.any(axis=0))
    if not len(levels):
        return hidden
    size = body.shape[1]
    foremost = np.where(rows.any(axis=0), size - 1 - np.argmax(rows[::-1], axis=0), 0) * spacing[1]
    window = 2 * int(np.ceil(WINDOW_MM / spacing[2])) + 1
    front = np.floor(maximum_filter1d(foremost, window, mode="nearest") / STEP_MM) * STEP_MM - DEPTH_MM
    top = levels[-1]
    is_cut = bool(body[:, :, -1].any())
    brow = top if is_cut else top - round(BROW_MM / spacing[2])
    place = np.arange(size)[:, None] * spacing[1]  # (Y, 1)
    hidden[:] = place >= front
    hidden[:, :, brow + 1 :] = False
    return hidden


def without_face(
    image: Array, body: Array, labels: Array | None, spacing: tuple[float, float, float]
) -> tuple[Array, Array, Array | None]:
    """Copies of what a picture shows, without the face: image at its lowest value, no body and no label there.

    Args:
        image, body, labels: (X, Y, Z) on one canonical grid.
        spacing: Voxel size in mm.
    """
    hidden = face_region(body, spacing)
    shown = np.where(hidden, image.min(), image)
    return shown, body & ~hidden, None if labels is None else np.where(hidden, 0, labels)
