"""The scans that an arm learns from and those that it is measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from volforge.errors import VolforgeError
from volforge.study.settings import ArmSettings
from volforge.volume.folders import read_json, read_rows
from volforge.volume.geometry import Array, Grid
from volforge.volume.read import read_canonical

Row = Mapping[str, str]
PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class Case:
    """One thing to predict.

    Attributes:
        scan: Scan that is read.
        subject: Its subject.
        reference: Scan that the prediction is compared with; the same one, but for translation.
        label_source: Where the reference's labels come from.
    """

    scan: str
    subject: str
    reference: str
    label_source: str


class Cohort:
    """The accepted scans of a cohort, read when they are asked for."""

    def __init__(self, scans: Path):
        self.scans = scans
        self.folder = scans.parent / "scans"
        rows = read_rows(scans, "the scans.tsv of a cohort", ("scan", "subject", "accepted"))
        self.rows: list[Row] = [r for r in rows if r["accepted"] == "1"]

    @cached_property
    def structures(self) -> dict[str, int]:
        """Id by name, of the cohort's table; empty where it has none."""
        file = self.scans.parent / "settings.json"
        found: dict[str, int] = read_json(file).get("structures", {}) if file.exists() else {}
        return found

    def record(self, scan: str) -> dict[str, Any]:
        """record.json of a scan."""
        content: dict[str, Any] = read_json(self.folder / scan / "record.json")
        return content

    def grid(self, scan: str) -> Grid:
        """Canonical grid of a scan."""
        return Grid.of(self.record(scan)["grid"])

    def has(self, scan: str, part: str) -> bool:
        """Whether a scan has `image`, `labels`, `body`, `defective` or `implant`."""
        return (self.folder / scan / f"{part}.nii.gz").exists()

    def read(self, scan: str, part: str) -> Array:
        """A volume of a scan on its canonical grid."""
        return read_canonical(self.folder / scan / f"{part}.nii.gz", labels=part != "image")[0]

    def target_image(self, scan: str) -> Array:
        """The image of a scan in the unit that image tasks are measured in, (X, Y, Z).

        HU as it is. Of MR percent, float32: the percentiles 0.5 and 99.5 inside the body become
        0 and 100, and outside of it stands 0.
        """
        import numpy as np

        image = self.read(scan, "image")
        if next(r["modality"] for r in self.rows if r["scan"] == scan) != "MR":
            return image
        body = self.body(scan, image.shape)
        values = image[body] if body.any() else image
        low, high = (float(v) for v in np.percentile(values, PERCENTILES))
        percent = (image.astype(np.float32) - low) / max(high - low, 1e-9) * 100
        return np.where(body, percent, np.float32(0)).astype(np.float32)

    def body(self, scan: str, shape: tuple[int, ...]) -> Array:
        """The body mask of a scan; the whole grid where it has none."""
        import numpy as np

        return self.read(scan, "body") > 0 if self.has(scan, "body") else np.ones(shape, bool)

    def has_given_body(self, scan: str) -> bool:
        """Whether the body mask of a scan came with its sheet, and was not found in its image."""
        return bool(self.record(scan).get("body", {}).get("from") == "sheet")

    def own_body(self, scan: str, image: Array) -> Array:
        """The body as the image of a scan shows it; the stored mask, unless that came with the sheet.

        The masks that come with pairs of MR and CT may lie centimetres outside of the body (SynthRAD2023: 10 to 21 mm).

        Args:
            scan: The scan.
            image: (X, Y, Z) its image as `read` gives it.
        """
        given = self.body(scan, image.shape)
        if not self.has_given_body(scan):
            return given
        from volforge.volume.body_mask import find_body

        unit = next(r["unit"] for r in self.rows if r["scan"] == scan)
        found = find_body(image, self.grid(scan).spacing_mm, hounsfield=unit != "arbitrary").mask
        return found if found.any() else given


def tested_rows(settings: ArmSettings, cohort: Cohort, fold: int) -> list[Row]:
    """Accepted scans that are tested: those of the fold, or of the split `test`."""
    return [r for r in cohort.rows if _is_tested(r, settings.by_fold, fold)]


def cases_with(
    settings: ArmSettings,
    cohort: Cohort,
    fold: int,
    files: Sequence[str],
    choice: Mapping[str, str | None] | None = None,
) -> list[Case]:
    """What an arm is measured on: the tested scans that have these files, each its own reference.

    Args:
        settings: The arm.
        cohort: Its cohort.
        fold: Fold, or 0 for the split `test`.
        files: `image`, `labels`, `defective`, `implant`.
        choice: Modality and contrast; None: any.

    Raises:
        VolforgeError: There is none.
    """
    rows = tested_rows(settings, cohort, fold)
    chosen = [r for r in rows if all(cohort.has(r["scan"], f) for f in files) and (choice is None or _fits(r, choice))]
    return checked(
        settings, cohort, fold, [Case(r["scan"], r["subject"], r["scan"], r["label_source"]) for r in chosen]
    )


def checked(settings: ArmSettings, cohort: Cohort, fold: int, cases: list[Case]) -> list[Case]:
    """The cases, of which there must be some.

    Raises:
        VolforgeError: There is none.
    """
    if not cases:
        place = f"fold {fold}" if settings.by_fold else "split `test`"
        raise VolforgeError(
            f"no scan of the {place} can be measured for the task {settings.task}",
            str(cohort.scans),
            "look at the columns split, fold, and the files of the sheet; translation needs pairs of equal `frame`",
        )
    return cases


def free_rows(rows: Sequence[Row], by_fold: bool, fold: int) -> list[Row]:
    """Rows of subjects that are not tested, whatever is done with them: the one rule against leakage.

    Args:
        rows: Accepted scans of the cohort.
        by_fold: Test scans are those of a fold, not of the split `test`.
        fold: The fold.
    """
    tested = {r["subject"] for r in rows if _is_tested(r, by_fold, fold)}
    return [r for r in rows if r["subject"] not in tested]


def training_rows(settings: ArmSettings, cohort: Cohort, fold: int) -> list[Row]:
    """Scans that an arm may learn from: never a subject that it is tested on.

    In cross-validation (`folds`) every subject is tested once and the column `split` plays no part; else only the
    split `train` is learnt from.
    """
    rows = free_rows(cohort.rows, settings.by_fold, fold)
    return rows if settings.by_fold else [r for r in rows if r["split"] == "train"]


def of_modality(rows: Sequence[Row], choice: Mapping[str, str | None]) -> list[Row]:
    """The rows of a modality and contrast."""
    return [r for r in rows if _fits(r, choice)]


def _is_tested(row: Row, by_fold: bool, fold: int) -> bool:
    return row["fold"] == str(fold) if by_fold else row["split"] == "test"


def _fits(row: Row, choice: Mapping[str, str | None]) -> bool:
    contrast = choice["contrast"]
    return row["modality"] == choice["modality"] and (contrast is None or row["contrast"] == contrast)
