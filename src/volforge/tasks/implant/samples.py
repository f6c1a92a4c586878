"""Samples of a training of implants, each from (seed, number) alone: what the network sees, and what it answers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from volforge.tasks.implant.distances import signed_distances
from volforge.tasks.implant.grids import Frame, box_image, cut
from volforge.tasks.implant.held import Held, Skulls
from volforge.tasks.implant.mirror import mirrored, reflection
from volforge.tasks.implant.settings import ImplantSettings
from volforge.tasks.implant.tiles import tile_starts
from volforge.volume.geometry import Affine, Array

if TYPE_CHECKING:
    from volforge.tasks.implant.kriging.fit import KrigedModel

Sample = dict[str, Array]
TURN, SCALE, SHIFT_MM = 9.0, 0.08, 9.0  # of `standard`; `light` has half of it
CHOICE = 1  # word of the draws that are none of the defect's


class Samples(ABC):
    """What all ways of seeing share.

    Args:
        settings: The model.
        skulls: With their defects.
        loss: Its `needs_distance`, and `units` and `clip` of its distances.
    """

    def __init__(self, settings: ImplantSettings, skulls: Skulls, loss: Any):
        self.settings, self.skulls, self.loss = settings, skulls, loss
        self.size = settings.patch
        self.flips = "x" in settings.training["flip"]

    @abstractmethod
    def sample(self, index: int) -> Sample:
        """Sample of this number: `image`, `target` (uint8), and `distance` where the loss reads it; (C, X, Y, Z)."""

    def rng(self, index: int) -> np.random.Generator:
        """What decides all but the defect."""
        return np.random.default_rng([self.skulls.seed, index, CHOICE])

    def target(self, complete: Array, implant: Array) -> Array:
        """Boolean: where the target is."""
        wanted = implant if self.settings.implant["target"] == "implant" else complete
        return wanted if wanted.dtype == bool else wanted >= 0.5

    def answered(self, image: Array, target: Array, spacing: tuple[float, float, float]) -> Sample:
        """A sample of channels (C, X, Y, Z) and a boolean target, with its distances where the loss reads them."""
        found: Sample = {"image": np.ascontiguousarray(image, np.float32), "target": target[None].astype(np.uint8)}
        if self.loss.needs_distance:
            units = getattr(self.loss, "units", "mm")
            clip = float(getattr(self.loss, "clip", 0.0))
            found["distance"] = signed_distances(np.ascontiguousarray(target), spacing, units=units, clip=clip)[None]
        return found


class CapSamples(Samples):
    """Whole caps, flipped, turned and scaled a little."""

    def sample(self, index: int) -> Sample:
        """Sample of this number."""
        held, complete, implant = self.skulls.pair(index)
        rng = self.rng(index)
        both = [complete.astype(np.float32), implant.astype(np.float32)]
        if self.flips and rng.random() < 0.5:
            both = [v[::-1] for v in both]
        share = {"none": 0.0, "light": 0.5, "standard": 1.0}[self.settings.training["augmentation"]]
        if share:
            matrix, offset = small_affine(rng, both[0].shape, held.grid.spacing_mm, share)
            both = [moved(v, matrix, offset) for v in both]
        return self.answered((both[0] - both[1])[None], self.target(both[0], both[1]), held.grid.spacing_mm)


def small_affine(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: tuple[float, float, float], share: float
) -> tuple[Array, Array]:
    """A small turn, scale and shift about the middle of a grid: matrix and offset in voxels."""
    a, b, c = np.radians(rng.uniform(-TURN, TURN, 3) * share)
    turn = np.eye(3)
    for i, j, angle in ((0, 1, a), (0, 2, b), (1, 2, c)):
        one = np.eye(3)
        one[[i, j], [i, j]] = np.cos(angle)
        one[i, j], one[j, i] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    size = np.diag(spacing)
    matrix = np.linalg.inv(size) @ (turn * (1 + rng.uniform(-SCALE, SCALE) * share)) @ size
    middle = (np.array(shape) - 1) / 2
    shift = rng.uniform(-SHIFT_MM, SHIFT_MM, 3) * share / np.array(spacing)
    return matrix, middle + shift - matrix @ middle


def moved(volume: Array, matrix: Array, offset: Array) -> Array:
    """A volume resampled by an affine map, linear, 0 beyond it."""
    from scipy.ndimage import affine_transform

    return np.asarray(affine_transform(volume, matrix, offset, order=1, output=np.float32))


class PatchSamples(Samples):
    """The patches of one skull after the other, in the order in which they are cut."""

    def __init__(self, settings: ImplantSettings, skulls: Skulls, loss: Any):
        super().__init__(settings, skulls, loss)
        # as many for every skull, or the number of a sample would not tell its skull
        largest = np.max([s.complete.shape for s in skulls.skulls], axis=0)
        self.starts = tile_starts(largest.tolist(), self.size)

    def sample(self, index: int) -> Sample:
        """Sample of this number: patch `index` mod their number of the skull before it."""
        number, k = divmod(index, len(self.starts))
        held, complete, implant = self.skulls.pair(number)
        if self.flips and self.rng(number).random() < 0.5:
            complete, implant = complete[::-1], implant[::-1]
        start = np.array(self.starts[k])
        image = cut(complete & ~implant, start, self.size)[None]
        return self.answered(image, cut(self.target(complete, implant), start, self.size), held.grid.spacing_mm)


class BoxSamples(Samples):
    """Boxes about the coarse implants of the sheet's defects.

    Args:
        boxes: Frame, on the skull's held grid, and the part of it that is shown, of every skull by scan.
    """

    def __init__(self, settings: ImplantSettings, skulls: Skulls, loss: Any, boxes: dict[str, tuple[Frame, Any]]):
        super().__init__(settings, skulls, loss)
        self.boxes = boxes

    def sample(self, index: int) -> Sample:
        """Sample of this number."""
        return self.of(*self.skulls.pair(index), self.flips and bool(self.rng(index).random() < 0.5))

    def of(self, held: Held, complete: Array, implant: Array, is_flipped: bool) -> Sample:
        """The sample of a skull."""
        frame, shown = self.boxes[held.scan]
        image = box_image(complete & ~implant, frame, shown)
        target = cut(self.target(complete, implant), frame.first, frame.shape)
        if is_flipped:
            image, target = image[::-1], target[::-1]
        return self.answered(image[None], target, held.grid.spacing_mm)


class WindowSamples(Samples):
    """Windows of defects, with what the coarse model needs to give its channel: it is made in the step, on its device.

    Args:
        coarse: Settings of the coarse model; None where no channel asks for it.
        kriged: The fitted model; None where no channel asks for it.
    """

    def __init__(
        self,
        settings: ImplantSettings,
        skulls: Skulls,
        loss: Any,
        coarse: ImplantSettings | None,
        kriged: KrigedModel | None = None,
    ):
        super().__init__(settings, skulls, loss)
        self.kriged = kriged if "kriged" in settings.wants else None
        self.known: dict[str, tuple[bytes, Array]] = {}
        self.coarse = coarse if "coarse" in settings.wants else None
        self.planes: dict[str, Affine] = {}
        self.frames: dict[str, Frame] = {}
        for held in skulls.skulls:
            complete = held.complete.whole()
            if "mirror" in settings.wants:
                self.planes[held.scan] = reflection(complete, held.grid)
            if self.coarse is not None:
                self.frames[held.scan] = self.coarse.frame(complete, held.grid, held.scan)

    def sample(self, index: int) -> Sample:
        """Sample of this number: a window that holds a voxel of the implant, or in a share of cases any other."""
        held, complete, implant = self.skulls.pair(index)
        rng = self.rng(index)
        size, room = np.array(self.size), np.array(complete.shape) - np.array(self.size)
        low, high = np.minimum(0, room), np.maximum(0, room)
        places = np.argwhere(implant)
        if len(places) and rng.random() < self.settings.training["foreground"]:
            jitter = rng.integers(-(size // 4), size // 4 + 1)
            start = np.clip(places[int(rng.integers(len(places)))] + jitter - size // 2, low, high)
        else:
            start = rng.integers(low, high + 1)
        defective = complete & ~implant
        channels: list[Array] = [cut(defective, start, self.size).astype(np.float32)]
        kriged = self.kriged_of(held, defective)
        for name in self.settings.wants:
            if name == "mirror":
                channels.append(mirrored(defective, self.planes[held.scan], start, self.size))
            elif name == "kriged":
                assert kriged is not None
                channels.append(cut(kriged, start, self.size))
            else:  # filled in by the step
                channels.append(np.zeros(self.size))
        target = cut(self.target(complete, implant), start, self.size)
        found = self.answered(np.stack(channels), target, held.grid.spacing_mm)
        found["flipped"] = np.array(self.flips and rng.random() < 0.5)
        if self.coarse is not None:
            frame = self.frames[held.scan]
            found["whole"] = frame.average(defective)[None]
            found["place"] = place_in(frame, start, self.size)
        return found

    def kriged_of(self, held: Held, defective: Array) -> Array | None:
        """The kriged skull of a defective one, float32; None where no channel asks for it.

        The last one of every skull is kept, by its bone: holes of the sheet are closed once, those on line each time.
        """
        if self.kriged is None:
            return None
        from volforge.tasks.implant.kriging.case import kriged_skull

        key = hashlib.sha256(np.packbits(defective).tobytes()).digest()
        standing = self.known.get(held.scan)
        if standing is None or standing[0] != key:
            standing = key, kriged_skull(self.kriged, defective, held.grid.affine).astype(np.float16)
            self.known[held.scan] = standing
        return standing[1].astype(np.float32)


def place_in(frame: Frame, start: Array, size: tuple[int, int, int]) -> Array:
    """Where a window lies in a frame, as the affine map of `torch.nn.functional.affine_grid`.

    Args:
        frame: On the grid of the window.
        start, size: Of the window.

    Returns:
        (3, 4) float32, rows and columns from the last axis to the first.
    """
    extent = np.array(frame.step) * np.array(frame.shape)
    scale = np.array(size) / extent
    shift = (np.array(size) + 2 * (np.asarray(start) - np.array(frame.start))) / extent - 1
    found = np.zeros((3, 4), np.float32)
    found[[0, 1, 2], [0, 1, 2]] = scale[::-1]
    found[:, 3] = shift[::-1]
    return found
