"""`volforge implant patches`: the patches of a trained model at work, and their rule counted, of skulls of a cohort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from volforge.errors import VolforgeError
from volforge.study.cases import Cohort
from volforge.volume.folders import whole_folder


def patch_files(
    model_folder: Path,
    scans: Path,
    out: Path,
    names: Sequence[str] = (),
    suffix: str = ".gif",
    device: str = "cpu",
    say: Callable[[str], object] = print,
) -> None:
    """Write `<scan>.gif` and `patch_rule.tsv` into a folder that appears whole.

    Args:
        model_folder: Of a trained model that sees patches.
        scans: scans.tsv of a cohort.
        out: Folder to write.
        names: Scans; none: the first that has a defective skull and its implant.
        suffix: `.gif` or `.webp`.
        device: `cpu` or `cuda`.
        say: Told what was made.

    Raises:
        VolforgeError: No such scan, or a model that sees something else.
    """
    from volforge.tasks.implant.apply import load_model, predicted
    from volforge.tasks.implant.beside import patch_scan
    from volforge.tasks.implant.features.files import chosen_scans
    from volforge.tasks.implant.patch_movie import SUFFIXES, frames, write_movie
    from volforge.tasks.implant.patch_rule import count_patches, write_counts

    if suffix not in SUFFIXES:
        raise VolforgeError(f"'{suffix}' does not move", "", f"use one of {', '.join(SUFFIXES)}")
    cohort, model = Cohort(scans), load_model(model_folder, device)
    if model.settings.sees != "patches":
        raise VolforgeError(f"it sees `{model.settings.sees}`", str(model_folder), "name a model of `sees: patches`")
    counts = {}
    with whole_folder(out) as folder:
        for scan in chosen_scans(cohort, names):
            defective, grid = cohort.read(scan, "defective") > 0, cohort.grid(scan)
            implant = (cohort.read(scan, "implant") > 0) & ~defective
            p = predicted(model, defective, grid, device=device, where=scan)
            seen = patch_scan(model, p, defective, implant, grid, scan)
            counts[scan] = count_patches(seen.answer, seen.skull, seen.implant, seen.patch, seen.target)
            write_movie(frames(seen), folder / f"{scan}{suffix}")
            c = counts[scan]
            seen_text = f"{c.false_implant} of {c.whole} whole patches changed"
            say(f"{scan}: {seen_text}, {c.missed} of {c.defective} defects missed")
        write_counts(folder, counts)
