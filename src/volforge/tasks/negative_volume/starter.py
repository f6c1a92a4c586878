"""A first study of negative volumes: the space between two bones of the scans' own labels."""

from __future__ import annotations

from collections.abc import Sequence

from volforge.tables.structures import Structure
from volforge.tasks.starting import Facts, Start

SIDES = {"left", "right"}
CONDYLE, BARRIER, MANDIBLE, SKULL = ("condyle",), ("temporal", "fossa"), ("mandible", "lower_jaw"), ("skull", "cranium")


def start(facts: Facts) -> Start | str:
    """Jaw joints of condyle and temporal bone; or of a mandible and a skull, of which both are derived."""
    if not facts.having("labels"):
        return "it takes labels of jaw joints"
    condyles, barriers = _sided(facts.structures, CONDYLE), _sided(facts.structures, BARRIER)
    groups = {s.structure: "condyle" for s in condyles} | {s.structure: "temporal_bone" for s in barriers}
    joint = ["  condyle: condyle # groups of the table of structures, each with a left and a right bone"]
    joint += ["  barrier: temporal_bone"]
    if not condyles or not barriers:
        mandible, groups = _named(facts.structures, MANDIBLE)
        skull, _ = _named(facts.structures, SKULL)
        if not mandible or not skull:
            return (
                "it takes a condyle and a temporal bone of each side, or a mandible and a skull, among the structures"
            )
        joint = [f"  derive: {{mandible: {mandible}, skull: {skull}}} # condyles and temporal bones are found in them"]
    # nothing is learnt: every fold is measured
    every = [f"folds: [{', '.join(map(str, range(facts.folds)))}] # all of them: nothing is learnt"]
    lines = [
        "task: negative_volume",
        f"cohort: {facts.cohort}",
        *(every if facts.folds else []),
        "joint:",
        *joint,
        "  joint_space_mm: 8 # how far from the condyle the temporal bone bounds the joint space, mm",
        "arms:",
        "  # the labels as they are. Predictions: {inflation: {labels_from: STUDY/ARM}} (docs/negative-volume.md)",
        "  labels: {inflation: {labels_from: labels}}",
        "  mesh: {inflation: {labels_from: labels, method: mesh, widths: false, meshes: false}}",
    ]
    return Start("\n".join(lines), groups=groups)


def _sided(structures: Sequence[Structure], words: Sequence[str]) -> list[Structure]:
    """Structures named so, where there is a left and a right one."""
    found = [s for s in structures if s.side and any(w in (s.group or s.structure) for w in words)]
    return found if {s.side for s in found} == SIDES else []


def _named(structures: Sequence[Structure], words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The one structure named so, or a group of a left and a right one, by structure; empty where there is none."""
    found = [s for s in structures if any(w in s.structure for w in words)]
    if len(found) == 1:
        return found[0].structure, {}
    if len(found) == 2 and {s.side for s in found} == SIDES:
        return words[0], {s.structure: words[0] for s in found}
    return "", {}
