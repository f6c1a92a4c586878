"""Slices of two modalities in the folders that published translation code reads: trainA, trainB, maskA, testA, testB.

Ge et al., SPIE 10949 (2019): A is the source (MR), B the target (CT), masks are those of A. Their export stretched
every slice to its own range, which loses Hounsfield units; here values keep one scale per scan, unless a replication
asks for that defect by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.folders import read_rows, whole_folder, write_json
from volforge.volume.geometry import Array
from volforge.volume.store import SliceStore

EXPORT = "export.json"
EXPORT_FORMAT = 1
PREFIX = {"A": "mr", "B": "nct", "mask": "mrmask"}  # as published
FORMS = ("float", "png16", "png8")


@dataclass(frozen=True)
class DomainExport:
    """What is exported, and how.

    Attributes:
        source, target: Modality and contrast of A and of B; contrast None: any.
        form: `float`: `.npz` with `image` float32 in HU (or the MR's own scale); `png16`, `png8`: the recipe's window
            as 0 to 65535 or 0 to 255.
        legacy_stretch: Every slice stretched to its own minimum and maximum, as published; `png8` only.
        fold: Fold whose scans are tested; None: the split `test`.
    """

    source: Mapping[str, str | None]
    target: Mapping[str, str | None]
    form: str = "float"
    legacy_stretch: bool = False
    fold: int | None = None

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise VolforgeError(f"unknown form '{self.form}'", remedy=f"use one of {', '.join(FORMS)}")
        if self.legacy_stretch and self.form != "png8":
            text = f"slices are stretched one by one in 8 bit only, not as {self.form}"
            raise VolforgeError(text, remedy="ask for `png8`, or leave the stretch out")
        if dict(self.source) == dict(self.target):
            raise VolforgeError("source and target are the same scans", remedy="name another modality or contrast")


def export_domains(recipe: Path, scans: Path, out: Path, wanted: DomainExport) -> dict[str, int]:
    """Write the kept slices of the accepted scans of two modalities, and the source's body masks.

    Files are called `mr_<scan>_<i>`, `nct_<scan>_<i>` and `mrmask_<scan>_<i>`, i being the slice's number in the scan.
    `maskA` holds the masks of all sources, tested ones too. Scans of the split `val` go to `valA` and `valB`.
    `export.json` tells how values and places come back.

    Args:
        recipe: Folder with one folder per scan, of a recipe of kind slices.
        scans: scans.tsv of the cohort.
        out: Target folder; it appears whole.
        wanted: What, and how.

    Returns:
        Number of slices by folder.

    Raises:
        VolforgeError: The recipe cuts no slices, or no scan of a modality was cut.
    """
    every = read_rows(scans, "the scans.tsv of a cohort", ("scan", "subject", "split", "fold", "accepted"))
    rows = [r for r in every if r["accepted"] == "1" and (recipe / r["scan"] / "image.b2nd").exists()]
    chosen = {"A": [r for r in rows if _fits(r, wanted.source)], "B": [r for r in rows if _fits(r, wanted.target)]}
    for domain, which in (("A", wanted.source), ("B", wanted.target)):
        if not chosen[domain]:
            named = " ".join(str(v) for v in which.values() if v is not None)
            raise VolforgeError(
                f"no scan of {named} was cut", str(recipe), "look at modality and contrast in the sheet"
            )
    subjects = {s: n for n, s in enumerate(sorted({r["subject"] for of in chosen.values() for r in of}), start=1)}
    counts: dict[str, int] = {}
    about: dict[str, Any] = {}
    with whole_folder(out) as scratch:
        for name in ("trainA", "trainB", "maskA", "testA", "testB"):
            (scratch / name).mkdir()
            counts[name] = 0
        for domain, of_domain in chosen.items():
            for row in of_domain:
                store = SliceStore(recipe / row["scan"])
                if store.geometry["kind"] != "slices":
                    raise VolforgeError("this recipe cuts no slices", str(recipe), "export a recipe of kind slices")
                split = _split(row, wanted.fold)
                numbers = _write(scratch, f"{split}{domain}", domain, row["scan"], store, wanted)
                counts[f"{split}{domain}"] = counts.get(f"{split}{domain}", 0) + len(numbers)
                counts["maskA"] += len(numbers) if domain == "A" and "body" in store.names else 0
                about[row["scan"]] = _about(row, subjects[row["subject"]], store, split, domain)
        content = {
            "format": EXPORT_FORMAT, "form": wanted.form, "legacy_stretch": wanted.legacy_stretch, "scans": about,
        }  # fmt: skip
        write_json(scratch / EXPORT, content)
    return counts


def stretched(levels: Array) -> Array:
    """A slice as `scipy.misc.imsave` wrote it: its own minimum becomes 0, its own maximum 255.

    A defect of the published export, for replications: 40 HU becomes grey 204 beside 300 HU, and 121 beside 1200.

    Args:
        levels: Any numbers.

    Returns:
        uint8; a slice of one value becomes 0.
    """
    low, high = float(levels.min()), float(levels.max())
    share = (levels.astype(np.float64) - low) / (high - low if high > low else 1.0)
    return np.clip(share * 255 + 0.5, 0, 255).astype(np.uint8)


def _fits(row: Mapping[str, str], wanted: Mapping[str, str | None]) -> bool:
    contrast = wanted.get("contrast")
    return row["modality"] == wanted["modality"] and (contrast is None or row.get("contrast", "") == contrast)


def _split(row: Mapping[str, str], fold: int | None) -> str:
    if fold is None:
        return row["split"]
    return "test" if row["fold"] == str(fold) else "train"


def _about(row: Mapping[str, str], number: int, store: SliceStore, split: str, domain: str) -> dict[str, Any]:
    """How a scan comes back; subjects are numbered, not named: the folder is made to be passed on."""
    values, cut = store.geometry["values"], store.geometry["cut_grid"]
    return {
        "domain": domain,
        "subject": number,
        "frame": row.get("frame", ""),
        "modality": row["modality"],
        "contrast": row.get("contrast", ""),
        "unit": "hu" if values["kind"] == "hu" else "arbitrary",
        "split": split,
        "axis": store.geometry["axis"],
        "low": values["low"],
        "high": values["high"],
        "shape": cut["shape"],
        "affine": cut["affine"],
    }


def _write(scratch: Path, folder: str, domain: str, scan: str, store: SliceStore, wanted: DomainExport) -> list[int]:
    """Write the kept slices of a scan; their numbers."""
    (scratch / folder).mkdir(exist_ok=True)
    index = read_rows(store.folder / "index.tsv", "an index of slices", ("slice", "kept"))
    kept = [int(r["slice"]) for r in index if r["kept"] == "1"]
    values = store.geometry["values"]
    for n in kept:
        if wanted.form == "float":
            stored = np.asarray(store["image"][n]).astype(np.float64)
            image = (stored * values["slope"] + values["intercept"]).astype(np.float32)
        else:
            share = (store.normalised(n).astype(np.float64) + 1) / 2
            top = 65535 if wanted.form == "png16" else 255
            image = np.rint(share * top).astype(np.uint16 if wanted.form == "png16" else np.uint8)
            if wanted.legacy_stretch:
                image = stretched(share * 255)
        save_slice(scratch / folder / f"{PREFIX[domain]}_{scan}_{n}", image)
        if domain == "A" and "body" in store.names:
            mask = (np.asarray(store["body"][n]) > 0).astype(np.uint8)
            save_slice(
                scratch / "maskA" / f"{PREFIX['mask']}_{scan}_{n}", mask if wanted.form == "float" else mask * 255,
                as_array=wanted.form == "float",
            )  # fmt: skip
    return kept


def save_slice(stem: Path, array: Array, *, as_array: bool | None = None) -> None:
    """A slice as `.npz` (key `image`; floats, or where asked for) or grey `.png`; same bytes for same values."""
    if as_array if as_array is not None else array.dtype.kind == "f":
        np.savez_compressed(stem.with_name(stem.name + ".npz"), image=array)
    else:
        from PIL import Image

        Image.fromarray(array).save(stem.with_name(stem.name + ".png"), compress_level=1)
