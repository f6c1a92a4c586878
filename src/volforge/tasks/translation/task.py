"""Translation: the CT that a subject's MR would have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from volforge.tasks.images import ImageTask, image_study
from volforge.tasks.protocol import (
    ENCODER,
    Arm,
    Keys,
    ModelOptions,
    Places,
    Problem,
    ResolvedStudy,
    ScanChoice,
    Study,
    fitting,
)
from volforge.tasks.translation import checks
from volforge.tasks.translation.baselines import BASELINES, CEILINGS, LEARNS, LEARNT_BY, MUST_BEAT
from volforge.tasks.translation.options import TranslationArm, TranslationStudy

if TYPE_CHECKING:
    from volforge.cohort.sheet import SheetRow


class Translation(ImageTask):
    """Images of another modality of the same subject and frame."""

    study = TranslationStudy
    train = "volforge.tasks.translation.train:train"
    begins_with_weights = True
    predict = "volforge.tasks.translation.predict:predict"
    measure = "volforge.tasks.translation.measure:measure"
    reads = ("image",)
    baselines = BASELINES
    learns = LEARNS
    by_hand = {
        "start": "volforge.tasks.translation.starter:start",
        "predict_translation": "volforge.tasks.translation.by_hand:predict_translation",
        "published": "volforge.tasks.translation.published_weights:import_published",
    }
    published = {
        "generator": "ResNet generator of a CycleGAN",
        "discriminator": "its discriminator of patches",
        "extractor": "U-Net that finds outlines",
    }
    first = (
        ("body", "mae_hu"),
        ("mask", "mae_hu"),
        ("body", "mae"),
        ("bone", "bone_dice"),
        ("soft", "mae_hu"),
        ("bone", "bias_hu"),
        ("body", "ssim"),
        ("body", "ssim_2d"),
    )
    shown = ("mae_hu", "ssim", "ssim_2d", "psnr_db", "outline_dice")
    must_beat = MUST_BEAT
    learnt_by = LEARNT_BY

    def kind(self, arm: Arm) -> str:
        """The true image cut to the source's outline is a ceiling, and what is called one."""
        is_bound = isinstance(arm, TranslationArm) and arm.ceiling
        return "ceiling" if is_bound or arm.baseline in CEILINGS else super().kind(arm)

    def metrics(self, study: ResolvedStudy) -> dict[str, Any]:
        """The tube voltage of the CTs and the case of the picture of all arms are read by measuring alone."""
        own = checks.study_of(study)
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

    def learners(self, study: ResolvedStudy) -> Iterator[tuple[tuple[str, ...], ScanChoice | None, str]]:
        """Images of the domains that each arm learns from: painted pairs need targets alone."""
        own = image_study(study.settings)
        wanted: dict[str, list[str]] = {"target": [], "source": []}
        for name in study.arms_with_models():
            for options in study.models_of(name).values():
                for domain in checks.learns_from(options):
                    learner = "the shape extractor" if checks.finds_outlines(options) else f"`{name}`"
                    wanted[domain] += [] if learner in wanted[domain] else [learner]
        for name, arm in study.settings.arms.items():
            if arm.baseline is not None and arm.baseline in self.learns:
                wanted["target"].append(f"`{name}`")
        if ENCODER in self.judges(study):
            wanted["target"].append("the encoder of the Fréchet distance")
        for domain, who in wanted.items():
            if who:
                yield ("image",), getattr(own, domain), " and ".join(who[:3])

    def problems(self, loaded: Places, study: ResolvedStudy) -> Iterator[Problem]:
        """Views of its arms too."""
        yield from super().problems(loaded, study)
        yield from checks.problems_of_scans(loaded, study)
        for arm in study.settings.arms:
            yield from checks.problems_of_views(loaded, study, arm)

    def problems_of_model(self, loaded: Places, study: ResolvedStudy, arm: str, model: str) -> Iterator[Problem]:
        """A network, a recipe of the kind `slices`, what its method needs, and no keys of other tasks."""
        yield from checks.problems(loaded, study, arm, model)

    def components(self, study: ResolvedStudy, arm: str, model: str) -> list[tuple[str, Keys, dict[str, Any]]]:
        """The generator, and what judges its images."""
        options = study.models_of(arm)[model]
        found: list[tuple[str, Keys, dict[str, Any]]] = []
        if options.network is not None:
            found.append(("network", ("network",), options.network.spec))
        judge = checks.translation_of(options).plain()["discriminator"]
        if isinstance(judge, dict) and not checks.finds_outlines(options):
            found.append(("network", ("translation", "discriminator"), judge))
        return found

    def model_settings(self, study: ResolvedStudy, arm: str, model: str) -> dict[str, Any]:
        """Content of `<model>.train.json`; see `volforge.tasks.translation.settings`."""
        return checks.translation_settings(study, arm, model)

    def note_of(self, study: ResolvedStudy, arm: str) -> str:
        """Pairs that its models saw, and what chose their weights."""
        return checks.note_of(study, arm)

    def settings_of_arm(self, study: ResolvedStudy, arm: str) -> dict[str, Any]:
        """`source` and `target`, and how images of several views are joined."""
        return super().settings_of_arm(study, arm) | checks.own_settings(study, arm)

    def budget(self, study: ResolvedStudy, arm: str) -> int:
        """Samples of its trainings, and of those that they started from in this study."""
        return super().budget(study, arm) + checks.budget_of_starts(study, arm)

    def may_need(self, study: ResolvedStudy, arm: str, model: str, needed: ModelOptions) -> str:
        """The shape extractor, or a generator to start from."""
        return checks.may_need(study.models_of(arm)[model], needed)
