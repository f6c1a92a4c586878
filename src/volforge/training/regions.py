"""Regions of a cohort as training sees them: cuts of a recipe, boxes about joints, patches and what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.inference.model_settings import ModelSettings
from volforge.inference.padded import padded
from volforge.volume.folders import read_json, sha256_of
from volforge.volume.geometry import Array
from volforge.volume.store import SliceStore, normalise, open_array

Size = tuple[int, int, int]
HELD_BYTES = 2**31  # regions up to this in all are held in memory; beyond it they are read patch by patch
MOST_PLACES = 2000  # voxels of each class that are remembered, for patches that hold a structure
OUTSIDE = -1.0  # normalised value beyond a cut, as in volforge.inference.windows


@dataclass
class Region:
    """One region of one scan: the whole cut, or the box about one joint of it.

    Attributes:
        scan, subject: Whose it is.
        side: Of the box, else empty.
        shape: Voxels of the cut.
        centre: Centre of the box in voxels of the cut, else None.
        places: Voxels of each class that is there and that patches are centred on.
        spacing: Voxel size of the cut in mm.
    """

    scan: str
    subject: str
    side: str
    shape: Size
    centre: Array | None
    places: list[Array] = field(default_factory=list)
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)


class Regions:
    """The regions of some scans.

    Args:
        settings: The model.
        recipe: Folder of the recipe's cuts, `<scan>/image.b2nd`.
        rows: Scans and their subjects.
        distances: Folder of distance maps, or None.

    Raises:
        VolforgeError: None of the scans can be used.
    """

    def __init__(
        self,
        settings: ModelSettings,
        recipe: Path,
        rows: Sequence[Mapping[str, str]],
        distances: Path | None = None,
    ):
        self.settings, self.folder, self.distances = settings, recipe, distances
        self._held: dict[tuple[str, str], Any] = {}
        self._stores: dict[str, SliceStore] = {}
        self._maps: dict[str, Any] = {}
        self._bytes, self._is_full = 0, False
        self.regions: list[Region] = []
        for row in rows:
            if (recipe / row["scan"] / "record.json").exists() and read_json(recipe / row["scan"] / "record.json")[
                "accepted"
            ]:
                self.regions += self._regions_of(row["scan"], row["subject"])
        if not self.regions:
            raise VolforgeError(
                "no training scan has both an image and the structures that the model learns",
                str(recipe),
                "look at the columns split and fold of the sheet, and at the study's structures",
            )

        self._hold()

    def _hold(self) -> None:
        """Take into memory what there is room for, once and before loader processes are forked: they share it."""
        for region in self.regions:
            self._array(region.scan, "image")
            if self.distances is not None:
                self._array(region.scan, "distances")
        self._is_full = True

    def only(self, subjects: Collection[str]) -> Regions | None:
        """The regions of some subjects, with the same memory; None where there are none."""
        chosen = copy(self)
        chosen.regions = [r for r in self.regions if r.subject in subjects]
        return chosen if chosen.regions else None

    def fingerprint(self) -> str:
        """A hash of all files that the regions are read from: a checkpoint of other data is no beginning."""
        digest = hashlib.sha256()
        for scan in sorted({r.scan for r in self.regions}):
            digest.update(f"{scan} {sha256_of(self.folder / scan)}\n".encode())
            if self.distances is not None:
                digest.update(sha256_of(self.distances / f"{scan}.b2nd").encode())
        return digest.hexdigest()

    @property
    def shape(self) -> Size:
        """Voxels of a region: its box, or the largest cut, rounded up to sixteens."""
        if self.settings.region is not None:
            a, b, c = self.settings.region["size"]
            return a, b, c
        a, b, c = (16 * -(-n // 16) for n in np.max([r.shape for r in self.regions], axis=0).tolist())
        return a, b, c

    def _regions_of(self, scan: str, subject: str) -> list[Region]:
        store = self._store(scan)
        if not {"image", "labels"} <= set(store.names):
            return []
        labels = np.asarray(self._array(scan, "labels")[:])
        shape: Size = (labels.shape[0], labels.shape[1], labels.shape[2])
        found = []
        for side in self.settings.sides:
            centre = None
            if self.settings.region is not None:
                own = np.argwhere(labels == self.settings.region["ids"][side])
                if not len(own):
                    continue
                offset = np.array(self.settings.region["offset_mm"]) * ([-1, 1, 1] if side == "right" else 1)
                centre = own.mean(axis=0) + offset / np.array(store.geometry["spacing_mm"])
            wanted = self.settings.training["centred_on"]
            found_at = {
                (c.structure, i): _some(np.argwhere(labels == i))
                for c in self.settings.classes
                for i in self._ids_of(c.ids, side)
            }
            every = [p for p in found_at.values() if len(p)]
            places = [p for (name, _), p in found_at.items() if len(p) and name in wanted] or every
            if places:
                spacing = tuple(store.geometry["spacing_mm"])
                found.append(Region(scan, subject, side, shape, centre, places, spacing))
        return found

    def _ids_of(self, ids: Mapping[str, int], side: str) -> list[int]:
        return [ids[side]] if side in ids else [] if side else list(ids.values())

    def _store(self, scan: str) -> SliceStore:
        if scan not in self._stores:
            self._stores[scan] = SliceStore(self.folder / scan)
        return self._stores[scan]

    def _array(self, scan: str, name: str) -> Any:
        """The stored array, in memory as long as there is room."""
        key = (scan, name)
        if key not in self._held:
            array = self._map(scan) if name == "distances" else self._store(scan)[name]
            size = int(np.prod(array.shape)) * array.dtype.itemsize
            is_changed = name == "labels" and self.settings.kind == "localiser"
            if (self._is_full or self._bytes + size > HELD_BYTES) and not is_changed:
                return array
            self._bytes += size
            values = np.asarray(array[:])
            self._held[key] = self._target(scan, values) if name == "labels" else values
        return self._held[key]

    def _target(self, scan: str, labels: Array) -> Array:
        """A localiser learns its structures grown, as one class."""
        if self.settings.kind != "localiser" or not self.settings.dilate_mm:
            return labels
        import edt

        spacing = self._store(scan).geometry["spacing_mm"]
        grown = labels.copy()
        for c in self.settings.classes:
            for i in c.ids.values():
                if (labels == i).any():
                    far = edt.edt(labels != i, anisotropy=spacing, black_border=False)
                    grown[(far <= self.settings.dilate_mm) & (grown == 0)] = i
        return grown

    def _map(self, scan: str) -> Any:
        if self.distances is None:
            raise VolforgeError("the loss needs distance maps", scan, "make them by `volforge model distances`")
        if scan not in self._maps:
            self._maps[scan] = open_array(self.distances / f"{scan}.b2nd")
        return self._maps[scan]

    def body(self, region: Region) -> Array | None:
        """Body mask of a region's whole cut, None where there is none."""
        return np.asarray(self._array(region.scan, "body")[:]) > 0 if "body" in self._store(region.scan).names else None

    def labels(self, region: Region) -> Array:
        """Label map of a region's whole cut, with the cohort's ids."""
        return np.asarray(self._array(region.scan, "labels")[:])

    def box_start(self, region: Region, size: Sequence[int], shift: Array | float = 0.0) -> Array:
        """First voxel of a box of this size about the region's centre (or the middle of the cut)."""
        centre = region.centre if region.centre is not None else (np.array(region.shape) - 1) / 2
        return np.rint(centre + shift - (np.array(size) - 1) / 2).astype(int)

    def cut(self, region: Region, start: Array, size: Sequence[int], with_distances: bool = False) -> dict[str, Array]:
        """Image (1, X, Y, Z) from -1 to 1, classes (1, X, Y, Z) and distances in mm, mirrored where the side asks.

        What lies beyond the cut is outside: -1, background, and 100 mm from everything.
        """
        store = self._store(region.scan)
        cut = np.full(tuple(size), OUTSIDE, np.float32)
        inner, where = padded(self._array(region.scan, "image"), start, size)
        cut[where] = normalise(inner, store.geometry["values"])
        labels = np.zeros(tuple(size), np.uint8)
        inner, where = padded(self._array(region.scan, "labels"), start, size)
        labels[where] = self._lut(region.side)[inner]
        result: dict[str, Array] = {"image": cut[None], "labels": labels[None]}
        if with_distances:
            maps = self._array(region.scan, "distances")
            order = [self._row_of(i) for c in self.settings.classes for i in self._ids_of(c.ids, region.side)]
            far = np.full((len(order), *size), 100.0, np.float32)
            for k, row in enumerate(order):
                inner, where = padded(maps, start, size, row)
                far[k][where] = inner
            result["distance"] = far
        if self.settings.region is not None and self.settings.region["mirror"] and region.side == "right":
            result = {k: np.ascontiguousarray(v[:, ::-1]) for k, v in result.items()}
        return result

    @cached_property
    def _rows(self) -> list[int]:
        """Ids in the order of the distance maps; read once, not for every sample."""
        assert self.distances is not None
        ids: list[int] = read_json(self.distances / "distances.json")["ids"]
        return ids

    def _row_of(self, identifier: int) -> int:
        return self._rows.index(identifier)

    def _lut(self, side: str) -> Array:
        """Class by id."""
        lut = np.zeros(65536, np.uint8)
        for k, c in enumerate(self.settings.classes):
            for i in self._ids_of(c.ids, side):
                lut[i] = 1 if self.settings.kind == "localiser" else k + 1
        return lut


def _some(places: Array) -> Array:
    step = max(1, len(places) // MOST_PLACES)
    return places[::step].astype(np.int32)
