"""PNG export of slices in the published layout: train|val|test / images|labels, one name for both."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.folders import read_rows, whole_folder, write_json
from volforge.volume.store import SliceStore


def export_png(recipe: Path, scans: Path, out: Path) -> int:
    """Write every kept slice of the accepted scans as 8-bit grey PNG.

    Images hold the recipe's window as 0..255; labels hold ids (16-bit where an id exceeds 255). Files are named
    `<scan>_<slice>.png`; `export.json` tells window and spacing of each scan.

    Args:
        recipe: Folder with one folder per scan.
        scans: scans.tsv of the cohort.
        out: Target folder; it appears whole.

    Returns:
        The number of slices.

    Raises:
        VolforgeError: the recipe does not cut slices.
    """
    from PIL import Image

    every = read_rows(scans, "the scans.tsv of a cohort", ("scan", "split", "accepted"))
    rows = [r for r in every if r["accepted"] == "1"]
    count = 0
    about = {}
    with whole_folder(out) as scratch:
        for split in ("train", "val", "test"):
            for kind in ("images", "labels"):
                (scratch / split / kind).mkdir(parents=True)
        for row in rows:
            folder = recipe / row["scan"]
            if not (folder / "geometry.json").exists():
                continue  # refused by the recipe: its record tells
            store = SliceStore(folder)
            if store.geometry["kind"] != "slices":
                raise VolforgeError("this recipe cuts no slices", str(recipe), "export a recipe of kind slices")
            about[row["scan"]] = {
                "spacing_mm": store.geometry["spacing_mm"],
                "values": store.geometry["values"],
            }
            with (folder / "index.tsv").open(encoding="utf-8", newline="") as file:
                kept = [int(r["slice"]) for r in csv.DictReader(file, delimiter="\t") if r["kept"] == "1"]
            for n in kept:
                name = f"{row['scan']}_{n:04d}.png"
                if "image" in store.names:
                    levels = np.rint((store.normalised(n) + 1) * 127.5).astype(np.uint8)
                    Image.fromarray(levels).save(scratch / row["split"] / "images" / name, compress_level=1)
                if "labels" in store.names:
                    labels = np.asarray(store["labels"][n])
                    Image.fromarray(labels).save(scratch / row["split"] / "labels" / name, compress_level=1)
                count += 1
        write_json(scratch / "export.json", about)
    return count
