"""Signed distances of every structure, made once for all trainings whose loss reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from volforge.study.cases import Cohort
from volforge.volume.folders import read_json, whole_folder, write_json
from volforge.volume.geometry import Array
from volforge.volume.morphology import distance_across
from volforge.volume.store import SliceStore, write_array

CHUNK = 64


def make_distances(scans: Path, recipe: str, ids: Sequence[int], out: Path) -> int:
    """Write the distance maps of a recipe's cuts.

    Args:
        scans: scans.tsv of the cohort.
        recipe: Name of the recipe, cut beside it.
        ids: Structures.
        out: Folder to write: `<scan>.b2nd`, (structures, X, Y, Z) in mm as 16-bit floats, and distances.json.

    Returns:
        Number of scans.
    """
    cuts = scans.parent / "recipes" / recipe
    made = []
    with whole_folder(out) as folder:
        for row in Cohort(scans).rows:
            cut = cuts / row["scan"]
            if not read_json(cut / "record.json")["accepted"]:
                continue
            store = SliceStore(cut)
            if "labels" not in store.names:
                continue
            labels = np.asarray(store["labels"][:])
            spacing = store.geometry["spacing_mm"]
            maps = np.empty((len(ids), *labels.shape), np.float16)
            for k, i in enumerate(ids):
                maps[k] = signed_distance(labels == i, spacing)
            write_array(folder / f"{row['scan']}.b2nd", maps, (1, *(min(CHUNK, n) for n in labels.shape)))
            made.append(row["scan"])
        write_json(folder / "distances.json", {"ids": list(ids), "recipe": recipe, "scans": made})
    return len(made)


def signed_distance(mask: Array, spacing: Sequence[float]) -> Array:
    """Distance to the border of a mask in mm, negative inside; 0 everywhere where the mask is empty or full.

    Voxel centres: half way between the nearest voxels of both sides, so that the border lies between them.
    """
    if not mask.any() or mask.all():
        return np.zeros(mask.shape, np.float32)
    x, y, z = (float(s) for s in spacing)
    away = distance_across(mask, (x, y, z)) - 0.5 * min(x, y, z)
    return np.asarray(np.where(mask, -away, away), np.float32)
