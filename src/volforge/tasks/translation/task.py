"""Translation: the CT that a subject's MR would have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from volforge.tasks.images import ImageTask, image_study
from volforge.tasks.protocol import Arm, ImageStudy, ResolvedStudy, ScanChoice, Study, fitting
from volforge.tasks.translation.baselines import BASELINES, CEILINGS, LEARNS, LEARNT_BY, MUST_BEAT

if TYPE_CHECKING:
    from volforge.cohort.sheet import SheetRow


class TranslationStudy(ImageStudy):
    """One table of translation."""

    kvp: Literal[80, 120, 140] | None = Field(
        default=None,
        description="tube voltage of the CTs, for attenuation at 511 keV and water-equivalent paths; empty: not known, "
        "120 kV is taken and the rows are called `kvp_unknown`",
    )
    shown_scan: str = Field(
        default="", description="source scan of the picture of all arms side by side; empty: the first one"
    )

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
    shown = ("mae_hu", "ssim", "ssim_2d", "psnr_db", "outline_dice")
    must_beat = MUST_BEAT
    learnt_by = LEARNT_BY

    def kind(self, arm: Arm) -> str:
        """The true image cut to the source's outline is a ceiling."""
        return "ceiling" if arm.baseline in CEILINGS else super().kind(arm)

    def metrics(self, study: ResolvedStudy) -> dict[str, Any]:
        """The tube voltage of the CTs and the case of the picture of all arms are read by measuring alone."""
        own = study.settings
        assert isinstance(own, TranslationStudy)
        return super().metrics(study) | {"kvp": own.kvp, "shown_scan": own.shown_scan}

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
