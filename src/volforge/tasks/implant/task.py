"""Implants: what closes the hole of a defective skull."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from volforge.tasks.implant.baselines import BASELINES, LEARNS
from volforge.tasks.implant.metrics import MeasuredStudy
from volforge.tasks.protocol import Places, Problem, ResolvedStudy, Task

if TYPE_CHECKING:
    from volforge.cohort.sheet import SheetRow

STRUCTURE = "implant"


class Implant(Task):
    """Cranial implants, of defective skulls whose implant is known."""

    study = MeasuredStudy
    predict = "volforge.tasks.implant.predict:predict"
    measure = "volforge.tasks.implant.measure:measure"
    reads = ("defective", "implant")
    baselines = BASELINES
    learns = LEARNS
    shown = ("dice", "boundary_dice_10mm", "hd95_pooled_mm")
    judged_in = ("implant",)  # its strata are the same cases again
    picture = "defective skull, prediction, reference, error, along three planes"
    by_hand = {
        "plan": "volforge.tasks.implant.defects.files:Plan",
        "defects": "volforge.tasks.implant.defects.files:make_defects",
        "fit": "volforge.tasks.implant.kriging.sheet:fit_sheet",
        "options": "volforge.tasks.implant.by_hand.options:CaseOptions",
        "drainage": "volforge.tasks.implant.by_hand.options:drainage_of",
        "case": "volforge.tasks.implant.by_hand.case:predict_case",
        "predict_kriging": "volforge.tasks.implant.by_hand.label_map:predict_label_map",
    }

    def structures(self, study: ResolvedStudy) -> list[dict[str, Any]]:
        """The implant, whatever structures the cohort has."""
        return [{"structure": STRUCTURE, "side": "", "id": 1}]

    def problems(self, loaded: Places, study: ResolvedStudy) -> Iterator[Problem]:
        """Skulls with an implant."""
        if self.is_named_elsewhere(study, list(study.cohort.rows.values())):
            text = f"no scan of cohort '{study.cohort.name}' has both `defective` and `implant`"
            keys = ("studies", study.name, "cohort")
            yield loaded.problem(keys, text, "fill these columns of the sheet", study.cohort.name)

    def is_named_elsewhere(self, study: ResolvedStudy, rows: Sequence[SheetRow]) -> bool:
        """Whether no scan has both files, which is said already."""
        return not any(set(self.reads) <= set(r.files) for r in rows)
