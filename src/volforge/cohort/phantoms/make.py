"""Making the files of a phantom cohort from the rows of its sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from volforge.cohort.phantoms.fields import PhantomScan
from volforge.errors import VolforgeError
from volforge.volume.folders import whole_folder, write_json
from volforge.volume.write import write_nifti

COLUMNS = ("image", "labels", "body_mask", "defective", "implant")


def draw_scan(
    kind: str, seed: int, row: Mapping[str, str], *, is_paired: bool, spacing_mm: float | None
) -> PhantomScan:
    """Draw the scan of one row: `subject`, `scan`, `modality`, `contrast`, and the free column `case`.

    Raises:
        VolforgeError: an unknown kind or case.
    """
    from volforge.cohort.phantoms import body, skull, tmj

    case = row.get("case", "")
    if kind == "tmj":
        _check(case, tmj.CASES, row)
        return tmj.draw(seed, row["subject"], case, spacing_mm)
    if kind == "skull":
        _check(case, skull.DEFECTS, row)
        return skull.draw(seed, row["subject"], case, spacing_mm)
    if kind == "body":
        _check(row["modality"], ("CT", "MR"), row)
        return body.draw(seed, row["subject"], row["modality"], is_paired, spacing_mm, row.get("contrast", ""))
    raise VolforgeError(f"unknown phantom '{kind}'", remedy="use tmj, skull or body")


def _check(word: str, words: Sequence[str], row: Mapping[str, str]) -> None:
    if word not in words:
        raise VolforgeError(
            f"scan {row['scan']}: '{word}' is none of {', '.join(words)}", remedy="mend the sheet's column"
        )


def make_cohort(
    kind: str, seed: int, rows: Sequence[Mapping[str, str]], out: Path, spacing_mm: float | None = None
) -> None:
    """Write `<scan>_<column>.nii.gz` for every row, and `truth.json`; the folder appears whole."""
    modalities: dict[str, set[str]] = {}
    for row in rows:
        modalities.setdefault(row["subject"], set()).add(row["modality"])
    truth = {}
    with whole_folder(out) as scratch:
        for row in rows:
            paired = len(modalities[row["subject"]]) > 1
            scan = draw_scan(kind, seed, row, is_paired=paired, spacing_mm=spacing_mm)
            for column in COLUMNS:
                if column in scan.volumes:
                    write_nifti(scratch / f"{row['scan']}_{column}.nii.gz", scan.volumes[column], scan.grid)
            truth[row["scan"]] = scan.truth
        write_json(scratch / "truth.json", {"kind": kind, "seed": seed, "scans": truth})
