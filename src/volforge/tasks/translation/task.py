"""Translation: the CT that a subject's MR would have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pydantic import model_validator

from volforge.tasks.images import ImageTask, image_study
from volforge.tasks.protocol import ImageStudy, ResolvedStudy, ScanChoice, Study, fitting
from volforge.tasks.translation.baselines import BASELINES, LEARNS

if TYPE_CHECKING:
    from volforge.cohort.sheet import SheetRow


class TranslationStudy(ImageStudy):
    """One table of translation."""

    @model_validator(mode="after")
    def _makes_another_image(self) -> TranslationStudy:
        if self.target.modality == "MR":
            raise ValueError("translation makes CT or CBCT: its measures are in HU")
        if self.source == self.target:
            raise ValueError("source and target are the same scans")
        return self


class Translation(ImageTask):
    """Images of another modality of the same subject and frame."""

    study = TranslationStudy
    predict = "volforge.tasks.translation.predict:predict"
    measure = "volforge.tasks.translation.measure:measure"
    reads = ("image",)
    baselines = BASELINES
    learns = LEARNS
    by_hand = {"predict_translation": "volforge.tasks.translation.by_hand:predict_translation"}
    shown = ("mae_hu", "ssim", "psnr_db", "outline_dice")

    def choices(self, study: Study) -> dict[str, ScanChoice]:
        """Source and target."""
        own = image_study(study)
        return {"target": own.target, "source": own.source}

    def needed(self, study: ResolvedStudy) -> str:
        """A pair."""
        return "a source and a target scan of one subject and `frame`"

    def measurable(self, study: ResolvedStudy, rows: Sequence[SheetRow], has: Callable[[SheetRow, str], bool]) -> bool:
        """Two scans of one subject that are aligned."""
        own = image_study(study.settings)
        targets = {(r.subject, r.frame) for r in fitting(rows, own.target) if r.frame}
        return any((r.subject, r.frame) in targets for r in fitting(rows, own.source))
