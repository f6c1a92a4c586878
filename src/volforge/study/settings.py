"""`settings.json` of an arm: all that its jobs read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from volforge.volume.folders import form_of, read_json


@dataclass(frozen=True)
class Part:
    """What is measured of a label map.

    Attributes:
        structure: Structure or group, as tables name it.
        side: `left`, `right` or empty.
        id: Its value in label maps.
        label_source: Where its labels come from, if not where those of the scan do.
    """

    structure: str
    side: str
    id: int
    label_source: str = ""

    @property
    def key(self) -> str:
        """Unique within a study."""
        return f"{self.structure}/{self.side}"


@dataclass(frozen=True)
class ArmSettings:
    """An arm as resolved.

    Attributes:
        study: Study.
        arm: Arm.
        task: Task.
        cohort: Cohort.
        by_fold: Test scans are those of a fold, not of the split `test`.
        structures: What is measured.
        metrics: As in the configuration.
        cases: How many cases the report opens to their slices.
        predictions: Folder of predictions made elsewhere, else empty.
        baseline: Name of the baseline, else None.
        options: Numbers of the baselines.
        weights: Paths of public weights by name.
        purpose: `predict` or `measure`; empty: of the networks that only measure.
        entry: Place of the task's function that these settings are for.
        inference: How models are applied: overlap, flips, keep, threads.
        own: What only the task knows of.
    """

    study: str
    arm: str
    task: str
    cohort: str
    by_fold: bool
    structures: tuple[Part, ...]
    metrics: Mapping[str, Any]
    cases: int
    predictions: str
    baseline: str | None
    options: Mapping[str, float]
    weights: Mapping[str, str]
    purpose: str = ""
    entry: str = ""
    inference: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> Mapping[str, str | None]:
        """Image tasks: modality and contrast that are read."""
        found: Mapping[str, str | None] = self.own["source"]
        return found

    @property
    def target(self) -> Mapping[str, str | None]:
        """Image tasks: modality and contrast that are made."""
        found: Mapping[str, str | None] = self.own["target"]
        return found

    @property
    def is_hounsfield(self) -> bool:
        """Whether images are measured in HU; those of MR in percent of their own window."""
        return self.target["modality"] != "MR"

    @classmethod
    def load(cls, path: Path) -> ArmSettings:
        """Read settings.json."""
        with form_of(path, "the settings of an arm"):
            content = dict(read_json(path))
            options = {k: content.pop(k) for k in ("threshold_hu", "constant_hu", "closing_mm")}
            content["structures"] = tuple(Part(**s) for s in content["structures"])
            names = {f.name for f in fields(cls)}
            own = {k: content.pop(k) for k in [*content] if k not in names}
            return cls(options=options, own=own, entry=content.pop("entry"), **content)
