"""Implants: what closes the hole of a defective skull."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from volforge.tasks.implant import checks
from volforge.tasks.implant.baselines import BASELINES, LEARNS
from volforge.tasks.implant.options import ImplantStudy
from volforge.tasks.protocol import (
    SHARED,
    Keys,
    ModelOptions,
    Places,
    Problem,
    ResolvedStudy,
    ScanChoice,
    Task,
)

if TYPE_CHECKING:
    from volforge.cohort.sheet import SheetRow

STRUCTURE = "implant"
FIT = "volforge.tasks.implant.kriging.arm:fit_arm"
PREDICT_FITTED = "volforge.tasks.implant.kriging.arm:predict"


class Implant(Task):
    """Cranial implants, of defective skulls whose implant is known."""

    study = ImplantStudy
    train = "volforge.tasks.implant.train:train"
    begins_with_weights = True
    predict = "volforge.tasks.implant.predict:predict"
    measure = "volforge.tasks.implant.measure:measure"
    reads = ("defective", "implant")
    baselines = BASELINES
    learns = LEARNS
    first = (
        ("implant", "dice"),
        ("implant", "boundary_dice_10mm"),
        ("implant", "hd95_pooled_mm"),
        ("implant", "volume_error_abs_percent"),
    )
    shown = ("dice", "boundary_dice_10mm", "hd95_pooled_mm")
    judged_in = ("implant",)  # its strata are the same cases again
    picture = "defective skull, prediction, reference, error, along three planes"
    by_hand = {
        "start": "volforge.tasks.implant.starter:start",
        "plan": "volforge.tasks.implant.defects.files:Plan",
        "defects": "volforge.tasks.implant.defects.files:make_defects",
        "features": "volforge.tasks.implant.features.files:feature_files",
        "boundary": "volforge.tasks.implant.distance_picture:distance_files",
        "patches": "volforge.tasks.implant.patch_files:patch_files",
        "keras": "volforge.tasks.implant.keras_weights:import_keras",
        "trial": "volforge.tasks.implant.trial:make_trial",
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

    def learners(self, study: ResolvedStudy) -> Iterator[tuple[tuple[str, ...], ScanChoice | None, str]]:
        """Models learn from known defects, or from complete skulls where defects are drawn."""
        wanted: dict[tuple[str, ...], list[str]] = {}
        for name in (SHARED, *study.settings.arms):
            for model in study.models_of(name).values():
                drawn = checks.implant_of(model).defects != "sheet"
                shows_complete = any("image" in r.files for r in study.cohort.rows.values())
                files: tuple[str, ...] = ("image",) if drawn and shows_complete else self.reads
                wanted.setdefault(files, []).append("what all arms share" if name == SHARED else f"`{name}`")
        for name, arm in study.settings.arms.items():
            if arm.baseline is not None and arm.baseline in self.learns:
                wanted.setdefault(self.learns[arm.baseline], []).append(f"`{name}`")
        for files, who in wanted.items():
            yield files, None, " and ".join(list(dict.fromkeys(who))[:3])

    def problems_of_model(self, loaded: Places, study: ResolvedStudy, arm: str, model: str) -> Iterator[Problem]:
        """A network with a loss that reads it, and no keys of other tasks."""
        yield from checks.problems(loaded, study, arm, model)

    def components(self, study: ResolvedStudy, arm: str, model: str) -> list[tuple[str, Keys, dict[str, Any]]]:
        """The network, the loss that it has where none is named, and a discriminator; none of a fitted model."""
        options = study.models_of(arm)[model]
        if checks.is_kriged(options):
            return []
        adversary = checks.implant_of(options).adversary
        found: list[tuple[str, Keys, dict[str, Any]]] = [("loss", ("loss",), checks.loss_of(options))]
        if options.network is not None:
            found.insert(0, ("network", ("network",), options.network.spec))
        if adversary is not None:
            found.append(("network", ("implant", "adversary", "network"), adversary.network.spec))
        return found

    def model_settings(self, study: ResolvedStudy, arm: str, model: str) -> dict[str, Any]:
        """Content of `<model>.train.json`; see `volforge.tasks.implant.settings` and `kriging.settings`."""
        return checks.implant_settings(study, arm, model)

    def settings_of_arm(self, study: ResolvedStudy, arm: str) -> dict[str, Any]:
        """The pictures that predictions of a trained arm leave; nothing where none are asked for."""
        models = study.models_of(arm).values()
        if not models or all(map(checks.is_kriged, models)):
            return {}
        return {k: True for k in ("features", "patch_scan") if getattr(study.settings, k)}

    def trained_by(self, study: ResolvedStudy, arm: str, model: str) -> str:
        """Kriged models are fitted, without torch."""
        return FIT if checks.is_kriged(study.models_of(arm)[model]) else self.train

    def predicted_by(self, study: ResolvedStudy, arm: str) -> str:
        """As they are trained."""
        models = study.models_of(arm).values()
        return PREDICT_FITTED if models and all(map(checks.is_kriged, models)) else self.predict

    def fits(self, study: ResolvedStudy, arm: str, model: str) -> bool:
        """Kriged models."""
        return checks.is_kriged(study.models_of(arm)[model])

    def may_need(self, study: ResolvedStudy, arm: str, model: str, needed: ModelOptions) -> str:
        """A coarse model of the whole cap."""
        return checks.may_need(study.models_of(arm)[model], needed)
