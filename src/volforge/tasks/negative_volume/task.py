"""Negative volumes: the space about the condyle of the jaw joint, of labels or of the predictions of another study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from volforge.tasks.negative_volume import checks
from volforge.tasks.negative_volume.options import NegativeVolumeArm, NegativeVolumeStudy
from volforge.tasks.protocol import Arm, Keys, Places, Problem, ResolvedStudy, Study, Task

PICTURE = (
    "left (upper row) and right joint in sagittal, coronal and axial planes; bones outlined in orange, joint space "
    "green, the rest of the negative volume blue"
)
NOTE = (
    "Left joint above, right joint below, each in a sagittal, a coronal and an axial plane: bones outlined in orange, "
    "joint space green, the rest of the negative volume blue. `turn` opens the surfaces: bones translucent, the "
    "negative volume coloured by the width of the joint space. Values are those of the joint space, means over sides."
)


class NegativeVolume(Task):
    """Deep negative volume segmentation, its second half: inflation."""

    study = NegativeVolumeStudy
    predict = "volforge.tasks.negative_volume.predict:predict"
    measure = "volforge.tasks.negative_volume.measure:measure"
    by_hand = {"start": "volforge.tasks.negative_volume.starter:start"}
    first = (
        ("joint_space", "index_error_percent"),
        ("joint_space", "dice"),
        ("joint_space", "hd95_mm"),
        ("joint_space", "assd_mm"),
        ("negative_volume", "dice"),
    )
    shown = ("dice", "joint_space_mm3", "joint_space_mean_mm", "asymmetry_index_percent", "index_error_percent")
    judged_in = ("joint_space",)  # the part that bone bounds tells cases apart
    picture = PICTURE
    note = NOTE
    compares_sides = ("joint_space_mm3", "negative_volume_mm3", "joint_space_mean_mm")

    def problems(self, loaded: Places, study: ResolvedStudy) -> Iterator[Problem]:
        """Bones with two sides."""
        yield from super().problems(loaded, study)
        yield from checks.problems(loaded, study)

    def problems_of_sources(
        self, loaded: Places, study: ResolvedStudy, arm: str, place: Keys, other: ResolvedStudy, source: str
    ) -> Iterator[Problem]:
        """Whether the other study predicts the bones."""
        yield from checks.of_source(loaded, study, checks.study_of(study).arms[arm], place, other, source)

    def is_drawn(self, arm: Arm) -> bool:
        """Predictions are; the scans' own labels are not."""
        return self.labels_from(arm) is not None

    def kind(self, arm: Arm) -> str:
        """Of every arm `shapes`."""
        return "shapes"

    def settings_of_arm(self, study: ResolvedStudy, arm: str) -> dict[str, Any]:
        """`joint`: bones by side, how they are inflated, and what is measured."""
        return {"joint": checks.joint_content(study, arm)}

    def labels_from(self, arm: Arm) -> tuple[str, str] | None:
        """Study and arm whose predictions are inflated."""
        assert isinstance(arm, NegativeVolumeArm)
        return arm.labels_from

    def key_of_labels_from(self, arm: str) -> Keys:
        """Below `inflation`."""
        return ("arms", arm, "inflation", "labels_from")

    def reference_arm(self, study: Study) -> str | None:
        """The scans' own labels, inflated by `ray`."""
        assert isinstance(study, NegativeVolumeStudy)
        return study.reference

    def gpus(self, study: ResolvedStudy, arm: str) -> int:
        """One where rays walk on a GPU."""
        return int(checks.study_of(study).joint.accelerator == "gpu")
