"""Slices of a cohort as image synthesis sees them: label maps of some scans, images of others, or both of the same."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.folders import read_json, sha256_of
from volforge.volume.geometry import Array
from volforge.volume.store import SliceStore

CLOSE = 3  # pixels of the square that closes a body's outline


@dataclass(frozen=True)
class Slice:
    """One slice of one scan."""

    scan: str
    subject: str
    number: int


def was_cut(folder: Path, part: str) -> bool:
    """Whether a scan was cut and has `image` or `labels` in its folder of a recipe."""
    record = folder / "record.json"
    return record.exists() and bool(read_json(record)["accepted"]) and (folder / f"{part}.b2nd").exists()


class Slices:
    """Slices of some scans, in memory. `shows_sides`: columns run from one side of the patient to the other.

    Args:
        recipe: Folder of the recipe's cuts, `<scan>/image.b2nd`.
        rows: Scans and their subjects.
        wants: What every scan must have, of `image` and `labels`; scans without it are left out.
        classes: Class by id, (65536,) uint8; 0 is the background. None: no labels are read.

    Raises:
        VolforgeError: None of the scans can be used, or their slices differ in size.
    """

    def __init__(
        self, recipe: Path, rows: Sequence[Mapping[str, str]], wants: Sequence[str], classes: Array | None = None
    ):
        self.folder, self.wants = recipe, tuple(wants)
        self.shows_sides = True
        self.slices: list[Slice] = []
        images: list[Array] = []
        labels: list[Array] = []
        for row in rows:
            place = recipe / row["scan"]
            if not all(was_cut(place, part) for part in wants):
                continue
            store = SliceStore(place)
            kept = _kept(place / "index.tsv")
            self.shows_sides = store.geometry["axis"] != "sagittal"
            self.slices += [Slice(row["scan"], row["subject"], n) for n in kept]
            if "image" in wants:
                images.append(store.normalised(slice(None))[kept])
            if "labels" in wants:
                assert classes is not None
                labels.append(classes[np.asarray(store["labels"][:])[kept]])
        if not self.slices:
            raise VolforgeError(
                f"no scan has {' and '.join(wants)} in slices of this recipe",
                str(recipe),
                "look at the columns split, modality, image and labels of the sheet",
            )
        sizes = {a.shape[1:] for a in (*images, *labels)}
        if len(sizes) > 1:
            raise VolforgeError(
                f"slices of several sizes: {sorted(sizes)}", str(recipe), "give the recipe a `size` and a `spacing_mm`"
            )
        self.images = np.concatenate(images) if images else None
        self.labels = np.concatenate(labels) if labels else None
        self.bodies = np.stack([outline_of(m) for m in self.labels]) if self.labels is not None else None

    def __len__(self) -> int:
        return len(self.slices)

    @property
    def size(self) -> tuple[int, int]:
        """Pixels of a slice."""
        array = self.images if self.images is not None else self.labels
        assert array is not None
        return int(array.shape[1]), int(array.shape[2])

    @property
    def subjects(self) -> list[str]:
        """Subjects that have slices."""
        return sorted({s.subject for s in self.slices})

    def item(self, k: int) -> dict[str, Array]:
        """Slice k: `image` (1, H, W) float32 from -1 to 1; `labels` and `body` (1, H, W) uint8; as far as they are."""
        found: dict[str, Array] = {}
        if self.images is not None:
            found["image"] = self.images[k][None]
        if self.labels is not None and self.bodies is not None:
            found["labels"], found["body"] = self.labels[k][None], self.bodies[k][None]
        return found

    def fingerprint(self) -> str:
        """A hash of all files that the slices are read from."""
        digest = hashlib.sha256()
        for scan in sorted({s.scan for s in self.slices}):
            digest.update(f"{scan} {sha256_of(self.folder / scan)} {self.wants}\n".encode())
        return digest.hexdigest()


def outline_of(labels: Array) -> Array:
    """Body of a slice of a label map: all that is labelled, closed by a square of 3 pixels, holes filled.

    Args:
        labels: (H, W), 0 outside.

    Returns:
        (H, W) uint8 of 0 and 1.
    """
    from scipy.ndimage import binary_closing, binary_fill_holes

    mask = np.pad(labels > 0, CLOSE)
    closed = binary_fill_holes(binary_closing(mask, np.ones((CLOSE, CLOSE), bool)))
    return np.asarray(closed[CLOSE:-CLOSE, CLOSE:-CLOSE], np.uint8)


def _kept(index: Path) -> list[int]:
    with index.open(encoding="utf-8") as file:
        return [int(r["slice"]) for r in csv.DictReader(file, delimiter="\t") if r["kept"] == "1"]
