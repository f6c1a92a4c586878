"""What predictions of implants leave beside the volumes: patches by their rule, feature maps, patches at work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from volforge.study.cases import Case, Cohort
from volforge.study.pictures import FOLDER, Shown, write_pictures
from volforge.study.settings import ArmSettings
from volforge.tasks.implant.patch_movie import CAPTION, PatchScan, frames, write_movie
from volforge.tasks.implant.patch_rule import PatchCounts, count_patches, write_counts
from volforge.volume.geometry import Array, Grid

if TYPE_CHECKING:
    from volforge.tasks.implant.apply import Trained
    from volforge.tasks.implant.features.case import CaseFeatures

TITLE_FEATURES, TITLE_PATCHES = "Feature maps", "The patches at work"


def patch_scan(model: Trained, p: Array, defective: Array, implant: Array, grid: Grid, where: str) -> PatchScan:
    """The cap and the answer of a model that sees patches, from its probability on the scan's grid."""

    frame = model.settings.frame(defective, grid, where)
    skull, answer, missing = (frame.average(v) >= 0.5 for v in (defective, p > 0.5, implant))
    return PatchScan(skull, answer, missing, model.settings.patch, str(model.settings.implant["target"]))


class Beside:
    """Sees every case of an arm as it is predicted, and writes what it keeps.

    Args:
        settings: The arm; `own` says whether there are `features` and a `patch_scan`.
        cohort: Its cohort.
    """

    def __init__(self, settings: ArmSettings, cohort: Cohort):
        self.settings, self.cohort = settings, cohort
        self.counts: dict[str, PatchCounts] = {}
        self.features: CaseFeatures | None = None
        self.scan: tuple[str, PatchScan] | None = None

    def see(self, model: Trained, case: Case, p: Array, defective: Array) -> None:
        """A case with the probability that a model gave on the scan's grid."""
        wants_features = bool(self.settings.own.get("features")) and self.features is None
        shown = model.coarse if model.settings.sees in ("box", "windows") and model.coarse is not None else model
        if model.settings.sees != "patches" and not wants_features:
            return
        grid = self.cohort.grid(case.scan)
        implant = (self.cohort.read(case.scan, "implant") > 0) & ~defective
        if model.settings.sees == "patches":
            scan = patch_scan(model, p, defective, implant, grid, case.scan)
            self.counts[case.scan] = count_patches(scan.answer, scan.skull, scan.implant, scan.patch, scan.target)
            if self.settings.own.get("patch_scan") and self.scan is None:
                self.scan = (case.scan, scan)
        if wants_features:
            from volforge.tasks.implant.features.case import case_features

            self.features = case_features(shown, defective, implant, grid, case.scan)

    def write(self, folder: Path) -> None:
        """Write `patch_rule.tsv`, and pictures with their table into `pictures/`, where there are some."""
        if self.counts:
            write_counts(folder, self.counts)
        shown: list[Shown] = []
        out = folder / FOLDER
        if self.features is not None:
            shown += self._features(self.features, out)
        if self.scan is not None:
            name, scan = self.scan
            out.mkdir(exist_ok=True)
            write_movie(frames(scan), out / "patches.gif")
            shown.append(Shown("patches.gif", TITLE_PATCHES, CAPTION.format(scan=name)))
        if shown:
            write_pictures(out, shown)

    def _features(self, found: CaseFeatures, out: Path) -> list[Shown]:
        from volforge.cohort.collect import as_tsv
        from volforge.tasks.implant.features.files import SCORE_COLUMNS, score_rows, write_case
        from volforge.tasks.implant.features.scores import kinds
        from volforge.tasks.implant.features.sheets import LEGEND
        from volforge.whole_file import write_whole

        out.mkdir()
        write_case(found, out / "features", "z", "sum")
        write_whole(out / "features" / "scores.tsv", as_tsv(SCORE_COLUMNS, score_rows({self.settings.arm: [found]})))
        where = found.scan
        shown = [Shown("features/input.png", TITLE_FEATURES, f"{where}: what the network sees, and what is missing.")]
        for stage, values in found.scores.items():
            classes = kinds(values)
            counts = (
                f"{len(classes)} channels, {classes.count('shape')} follow the bone, {classes.count('hole')} the hole"
            )
            caption = f"{where}: {stage}, {counts}; sums along z, each from its smallest to its largest value. {LEGEND}"
            shown.append(Shown(f"features/{stage}.png", TITLE_FEATURES, caption))
        return shown
