"""Grids that networks see skulls through: the cap, its own voxels, and the exact way back onto the scan's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from volforge.errors import VolforgeError
from volforge.tasks.implant.bone import cap_of
from volforge.volume.boxes import Box, foreground_box, grown
from volforge.volume.geometry import Array, Grid

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Frame:
    """A grid whose axes are those of a scan, in the scan's voxels: voxel i of the scan covers i to i + 1.

    Attributes:
        start: Where the first voxel begins.
        step: Length of a voxel.
        shape: Voxels.
    """

    start: Three
    step: Three
    shape: tuple[int, int, int]

    @property
    def is_native(self) -> bool:
        """Whether its voxels are some of the scan's."""
        return self.step == (1.0, 1.0, 1.0) and all(float(s).is_integer() for s in self.start)

    @property
    def first(self) -> Array:
        """The scan's voxel that a native frame begins with."""
        return np.array(self.start, np.int64)

    def grid(self, source: Grid) -> Grid:
        """Its place in the patient."""
        matrix = np.diag([*self.step, 1.0])
        matrix[:3, 3] = np.array(self.start) + np.array(self.step) / 2 - 0.5  # centre of the first voxel
        return Grid(self.shape, source.affine @ matrix)

    def average(self, volume: Array) -> Array:
        """Means of a scan's volume over its voxels, exact; beyond the scan lies nothing.

        Args:
            volume: (X, Y, Z) of the scan, boolean or numbers.

        Returns:
            `shape`, float32.
        """
        if self.is_native:
            return cut(volume, self.first, self.shape).astype(np.float32)
        box = foreground_box(volume)
        if box is None:
            return np.zeros(self.shape, np.float32)
        found = volume[box].astype(np.float32)
        for axis in sorted(range(3), key=lambda a: self.shape[a] / found.shape[a]):
            covered = np.arange(box[axis].start, box[axis].stop)
            faces = self.start[axis] + self.step[axis] * np.arange(self.shape[axis] + 1)
            low = np.maximum(faces[:-1, None], covered[None])
            high = np.minimum(faces[1:, None], covered[None] + 1)
            found = _along(np.maximum(high - low, 0) / self.step[axis], found, axis)
        return found

    def back(self, values: Array, shape: Sequence[int]) -> Array:
        """Values of the frame on the scan's grid, linear between its voxels, 0 beyond it.

        Args:
            values: `shape` of the frame.
            shape: Of the scan.

        Returns:
            (X, Y, Z), float32.
        """
        found = np.zeros(tuple(shape), np.float32)
        if self.is_native:
            here, there = overlap(self.first, self.shape, shape)
            found[here] = values[there]
            return found
        part, box = values.astype(np.float32), []
        for axis in range(3):
            n = self.shape[axis]
            places = (np.arange(shape[axis]) + 0.5 - self.start[axis]) / self.step[axis] - 0.5
            inside = np.flatnonzero((places >= -0.5) & (places <= n - 0.5))
            first = int(inside[0]) if len(inside) else 0
            box.append(slice(first, first + len(inside)))
            near = np.clip(places[inside], 0, n - 1)
            part = _along(np.maximum(1 - np.abs(near[:, None] - np.arange(n)[None]), 0), part, axis)
        found[tuple(box)] = part
        return found


def _along(weights: Array, volume: Array, axis: int) -> Array:
    """A linear map of one axis."""
    return np.moveaxis(np.tensordot(weights.astype(np.float32), volume, axes=(1, axis)), 0, axis)


def overlap(start: Array, size: Sequence[int], shape: Sequence[int]) -> tuple[Box, Box]:
    """Where a box of voxels lies in a volume, and where that part lies in the box; both may be empty."""
    here, there = [], []
    for s, n, m in zip(np.asarray(start).tolist(), size, shape, strict=True):
        low, high = min(max(0, s), m), min(max(0, s + n), m)
        high = max(low, high)
        here.append(slice(low, high))
        there.append(slice(low - s, high - s) if high > low else slice(0, 0))
    return tuple(here), tuple(there)


def cut(volume: Array, start: Array, size: Sequence[int]) -> Array:
    """A box of a volume; beyond the volume stands 0."""
    here, there = overlap(start, size, volume.shape)
    found = np.zeros(tuple(size), volume.dtype)
    found[there] = volume[here]
    return found


def cap_frame(
    skull: Array,
    grid: Grid,
    *,
    size: Sequence[int] | None,
    cap_mm: float,
    margin_mm: float,
    field: str = "bone",
    spacing_mm: float | None = None,
    where: str = "",
) -> Frame:
    """The frame of a skull's cap.

    Args:
        skull: (X, Y, Z) bone.
        grid: Its grid.
        size: Voxels that the cap is stretched to, or, with `spacing_mm`, that lie about its middle and below its top;
            None: as many as the cap has.
        cap_mm, margin_mm: As `cap_of`; what lies below its plane is kept, and zeros stand beyond the scan.
        field: `bone`, or `whole`: to the sides the whole scan.
        spacing_mm: Voxel size; None: stretched, or without `size` the scan's own.
        where: The scan, for the message.
    """
    try:
        box = cap_of(skull > 0, grid.affine, cap_mm, margin_mm).place
    except VolforgeError as error:
        raise VolforgeError(error.message, where, error.remedy) from error
    if field == "whole":
        box = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), box[2])
    low, high = (np.array([getattr(s, k) for s in box], float) for k in ("start", "stop"))
    if spacing_mm is None and size is None:
        return _frame(low, np.ones(3), (high - low).astype(int))
    if spacing_mm is None:
        assert size is not None
        return _frame(low, (high - low) / np.array(size), np.array(size))
    step = spacing_mm / np.array(grid.spacing_mm)
    count = np.array(size) if size is not None else np.ceil((high - low) / step).astype(int)
    start = (low + high - count * step) / 2
    start[2] = high[2] - count[2] * step[2]  # what there is not room for is cut off below
    return _frame(start, step, count)


def _frame(start: Array, step: Array, shape: Array) -> Frame:
    a, b, c = (float(v) for v in start)
    d, e, f = (float(v) for v in step)
    x, y, z = (int(n) for n in shape)
    return Frame((a, b, c), (d, e, f), (x, y, z))


def native_frame(first: Sequence[int], shape: Sequence[int]) -> Frame:
    """A frame of a scan's own voxels."""
    return _frame(np.array(first, float), np.ones(3), np.array(shape))


def box_frame(implant: Array, size: Sequence[int], margin: int) -> tuple[Frame, Box]:
    """A frame of a scan's own voxels with the box of a coarse implant in its middle.

    Args:
        implant: (X, Y, Z) boolean.
        size: Voxels of the frame.
        margin: Voxels about the implant.

    Returns:
        The frame; and the part of it, about the implant, that a network is shown. The rest is padding.
    """
    box = foreground_box(implant)
    if box is None:
        box = tuple(slice(0, n) for n in implant.shape)
    near = grown(box, [margin] * 3, implant.shape)
    first = [(s.start + s.stop) // 2 - n // 2 for s, n in zip(near, size, strict=True)]
    shown = tuple(slice(max(0, s.start - f), min(n, s.stop - f)) for s, f, n in zip(near, first, size, strict=True))
    return native_frame(first, size), shown


def box_image(defective: Array, frame: Frame, shown: tuple[slice, ...]) -> Array:
    """What a network sees of a box: the defective skull about the coarse implant, padding elsewhere; float32."""
    whole = cut(defective, frame.first, frame.shape)
    image = np.zeros(frame.shape, np.float32)
    image[shown] = whole[shown]
    return image
