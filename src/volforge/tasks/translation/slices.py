"""Slices of a domain as the training of translation sees them, read from the store one at a time.

A slice comes with its neighbours, with further contrasts of its frame, and with its partner of the other modality,
as far as these are asked for. What does not lie on the same grid is put onto the slice's own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volforge.config.models import SliceRecipe
from volforge.errors import VolforgeError
from volforge.study.cases import Cohort, Row
from volforge.volume.cut import AXES, Placement, placement_of, to_stack
from volforge.volume.cut_scan import cut_image, outside_of
from volforge.volume.folders import read_json, read_rows, sha256_of
from volforge.volume.geometry import Array, Grid
from volforge.volume.store import SliceStore, normalise


@dataclass(frozen=True)
class Place:
    """Where a slice lies.

    Attributes:
        scan, subject: Whose it is.
        number: Its index in the scan's stack.
        height: Its place among the scan's kept slices, from 0 to 1.
    """

    scan: str
    subject: str
    number: int
    height: float


@dataclass(frozen=True)
class Beside:
    """A scan on the slices of another one, in memory: further contrasts, or the partner of a pair.

    Attributes:
        stored: (N, H, W) int16.
        values: How it is read, as in `geometry.json`.
        digest: Of both: image, body, window and grids of the scan are in them.
    """

    stored: Array
    values: Mapping[str, float]
    digest: str

    def read(self, numbers: Sequence[int]) -> Array:
        """Slices as float32 from -1 to 1."""
        return normalise(self.stored[list(numbers)], dict(self.values))


class SliceSet:
    """Slices of some scans.

    Args:
        folder: Of the recipe's cuts, `<scan>/image.b2nd`.
        rows: Scans and their subjects; those that were not cut are left out.
        context: Neighbours on each side; beyond the ends the last slice stands again.
        beside: By scan, further contrasts in the order of the channels.
        partners: By scan, its partner; scans without one are left out where this is given.
        labels: Whether label maps are read, of scans that have one.

    Raises:
        VolforgeError: None of the scans can be used, or their slices differ in size.
    """

    def __init__(
        self,
        folder: Path,
        rows: Sequence[Row],
        *,
        context: int = 0,
        beside: Mapping[str, Sequence[Beside]] | None = None,
        partners: Mapping[str, Beside] | None = None,
        labels: bool = False,
    ):
        self.folder, self.context, self.labels = folder, context, labels
        self.beside, self.partners = beside or {}, partners
        self.places: list[Place] = []
        self.depth: dict[str, int] = {}
        self.pixel_mm = 1.0
        self.between_mm: dict[str, float] = {}  # recipes leave the distance of slices to each scan
        self._open: dict[str, SliceStore] = {}
        self._process = os.getpid()
        sizes: dict[tuple[int, int], str] = {}
        for row in rows:
            scan = row["scan"]
            store = accepted_store(folder / scan)
            if store is not None and row["modality"] != "MR" and store.geometry["values"]["kind"] != "hu":
                text = f"scan {scan} is not in HU, and is read as if it were"
                raise VolforgeError(text, str(folder), "set the sheet's `unit` column, or leave the scan out")
            if store is None or (partners is not None and scan not in partners):
                continue
            self.shows_sides = store.geometry["axis"] != "sagittal"
            shape = store["image"].shape
            sizes.setdefault((int(shape[1]), int(shape[2])), scan)
            self.depth[scan] = int(shape[0])
            index = read_rows(folder / scan / "index.tsv", "the index of slices", ("slice", "kept"))
            kept = [int(r["slice"]) for r in index if r["kept"] == "1"]
            span = max(1, kept[-1] - kept[0]) if kept else 1
            self.places += [
                Place(scan, row["subject"], n, (n - kept[0]) / span if len(kept) > 1 else 0.5) for n in kept
            ]
            steps = store.geometry["spacing_mm"]
            axis = AXES[store.geometry["axis"]]
            self.between_mm[scan] = float(steps[axis])
            self.pixel_mm = float(np.mean([s for a, s in enumerate(steps) if a != axis]))
        if not self.places:
            raise VolforgeError(
                "no scan has slices of this recipe",
                str(folder),
                "look at the columns split, modality, contrast and image of the sheet",
            )
        if len(sizes) > 1:
            named = ", ".join(f"{s[0]} x {s[1]} of {scan}" for s, scan in list(sizes.items())[:4])
            raise VolforgeError(
                f"slices of several sizes: {named}", str(folder), "give the recipe a `size` and a `spacing_mm`"
            )
        self.size = next(iter(sizes))
        self.heights = np.asarray([p.height for p in self.places])
        scans = {scan: n for n, scan in enumerate(dict.fromkeys(p.scan for p in self.places))}
        self.numbers = np.asarray([scans[p.scan] for p in self.places])

    def __len__(self) -> int:
        return len(self.places)

    @property
    def subjects(self) -> list[str]:
        """Subjects that have slices."""
        return sorted({p.subject for p in self.places})

    def item(self, k: int) -> dict[str, Array]:
        """Slice k.

        Returns:
            `image` (channels, H, W) float32 from -1 to 1, contrast by contrast with the neighbours from below;
            `body` and `labels`, where they are wanted, (2 context + 1, H, W) integers; `target` (1, H, W) where there
            are partners.
        """
        place = self.places[k]
        store = self._store(place.scan)
        numbers = self._around(place)
        span, inner = slice(numbers[0], numbers[-1] + 1), [n - numbers[0] for n in numbers]
        parts = [store.normalised(span)[inner]]
        parts += [b.read(numbers) for b in self.beside.get(place.scan, ())]
        found: dict[str, Array] = {"image": np.concatenate(parts)}
        if "body" in store.names:
            found["body"] = (np.asarray(store["body"][span])[inner] > 0).astype(np.uint8)
        else:
            found["body"] = np.ones((len(numbers), *self.size), np.uint8)
        if self.labels and "labels" in store.names:
            found["labels"] = np.asarray(store["labels"][span])[inner].astype(np.int32)
        if self.partners is not None:
            found["target"] = self.partners[place.scan].read([place.number])
        return found

    def between_of(self, k: int) -> float:
        """Distance of a slice to its neighbours, mm."""
        return self.between_mm[self.places[k].scan]

    def draw(self, rng: np.random.Generator, by: str) -> int:
        """A slice: any (`slices`), or one of a scan that is drawn first (`scans`): long scans weigh as others."""
        if by == "slices":
            return int(rng.integers(len(self)))
        return self.draw_of(rng, np.arange(len(self)))

    def draw_of(self, rng: np.random.Generator, among: Array) -> int:
        """One of some slices, a scan of theirs drawn first."""
        numbers = self.numbers[among]
        chosen = rng.choice(np.unique(numbers))
        return int(rng.choice(among[numbers == chosen]))

    def near(self, height: float, tolerance: float) -> Array:
        """Slices within a share of the body's height; the nearest one where there is none."""
        apart = np.abs(self.heights - height)
        found = np.flatnonzero(apart <= tolerance)
        return found if len(found) else np.flatnonzero(apart == apart.min())

    def fingerprint(self) -> str:
        """A hash of all files that the slices are read from."""
        digest = hashlib.sha256()
        for scan in sorted(self.depth):
            digest.update(f"{scan} {sha256_of(self.folder / scan)}\n".encode())
            more = [*self.beside.get(scan, ()), *([self.partners[scan]] if self.partners is not None else [])]
            digest.update(" ".join(b.digest for b in more).encode())
        return digest.hexdigest()

    def _around(self, place: Place) -> list[int]:
        last = self.depth[place.scan] - 1
        return [min(max(place.number + d, 0), last) for d in range(-self.context, self.context + 1)]

    def _store(self, scan: str) -> SliceStore:
        """An open store; every loader process opens its own."""
        if self._process != os.getpid():
            self._open, self._process = {}, os.getpid()
        if scan not in self._open:
            self._open[scan] = SliceStore(self.folder / scan)
        return self._open[scan]


def was_cut(folder: Path) -> bool:
    """Whether a scan was cut; its slices are not looked at."""
    record = folder / "record.json"
    return record.exists() and bool(read_json(record)["accepted"])


def accepted_store(folder: Path) -> SliceStore | None:
    """The slices of a scan that was cut, else None."""
    if not was_cut(folder):
        return None
    store = SliceStore(folder)
    return store if "image" in store.names else None


def put_beside(cohort: Cohort, recipe: SliceRecipe, folder: Path, scan: str, other: Row) -> Beside:
    """A scan on the slices of another one of its frame.

    Args:
        cohort: Of both.
        recipe: The slices' recipe; the other's values are read by its own window.
        folder: Of the recipe's cuts.
        scan: Whose slices they are.
        other: The scan that is put beside.
    """
    placement, own = placement_of(read_json(folder / scan / "geometry.json"))
    record = cohort.record(other["scan"])
    image = cohort.read(other["scan"], "image")
    grid = Grid.of(record["grid"])
    same = grid.shape == own.shape and np.allclose(grid.affine, own.affine, atol=1e-4)
    there = placement if same else Placement(placement.grid, None)
    body = cohort.body(other["scan"], image.shape)
    cut, values = cut_image(image, body, grid, there, record, recipe, outside_of(record, image))
    stored = np.ascontiguousarray(to_stack(cut, AXES[recipe.axis]))
    digest = hashlib.sha256(stored.tobytes() + json.dumps(values, sort_keys=True).encode()).hexdigest()
    return Beside(stored, values, digest)
