"""What the tasks that make images say alike: their units, the scans that they need, and the networks that judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from volforge.tasks.protocol import ENCODER, ImageStudy, Places, Problem, ResolvedStudy, ScanChoice, Study, Task

if TYPE_CHECKING:
    from volforge.cohort.sheet import SheetRow

PERCENT = [0.0, 100.0]  # range of MR, of each scan's own window


class ImageTask(Task):
    """A task that makes images."""

    makes = "image"
    memory = 2.0  # image measures hold several copies
    judged_in = ("body", "structures")

    def learners(self, study: ResolvedStudy) -> Iterator[tuple[tuple[str, ...], ScanChoice | None, str]]:
        """Images of the target: models may learn labels and images of different subjects."""
        wanted: dict[tuple[str, ...], list[str]] = {}
        for name, arm in study.settings.arms.items():
            if arm.models:
                wanted.setdefault(("image",), []).append(f"`{name}`")
            elif arm.baseline is not None and arm.baseline in self.learns:
                wanted.setdefault(self.learns[arm.baseline], []).append(f"`{name}`")
        if ENCODER in self.judges(study):
            wanted.setdefault(("image",), []).append("the encoder of the Fréchet distance")
        for files, who in wanted.items():
            yield files, image_study(study.settings).target, " and ".join(who[:3])

    def problems(self, loaded: Places, study: ResolvedStudy) -> Iterator[Problem]:
        """Scans of the modalities that are read and made."""
        yield from super().problems(loaded, study)
        for key, choice in self.choices(study.settings).items():
            if not any(r.modality == choice.modality for r in study.cohort.rows.values()):
                text = f"cohort '{study.cohort.name}' has no scan of this modality"
                place = ("studies", study.name, key)
                yield loaded.problem(place, text, "change the modality or the cohort", choice.modality)

    def choices(self, study: Study) -> dict[str, ScanChoice]:
        """Scans that the task cannot do without, by the key that names them."""
        return {"target": image_study(study).target}

    def metrics(self, study: ResolvedStudy) -> dict[str, Any]:
        """Those of MR are percent of a scan's own window."""
        metrics = super().metrics(study)
        if image_study(study.settings).target.modality == "MR":
            metrics |= {"range_hu": PERCENT, "window_hu": PERCENT}
        return metrics

    def settings_of_arm(self, study: ResolvedStudy, arm: str) -> dict[str, Any]:
        """`source` and `target`."""
        own = image_study(study.settings)
        return {"source": own.source.model_dump(), "target": own.target.model_dump()}

    def judges(self, study: ResolvedStudy) -> tuple[str, ...]:
        """The encoder, where slices are compared as sets."""
        return (ENCODER,) if study.settings.metrics.distribution else ()

    def is_named_elsewhere(self, study: ResolvedStudy, rows: Sequence[SheetRow]) -> bool:
        """Whether a modality is missing altogether, which is said already."""
        return not all(any(r.modality == c.modality for r in rows) for c in self.choices(study.settings).values())


def image_study(study: Study) -> ImageStudy:
    """Settings of a study that has a source and a target."""
    assert isinstance(study, ImageStudy)
    return study
