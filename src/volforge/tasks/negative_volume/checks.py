"""Negative volumes as resolved: which labels make a joint, and what is wrong with that before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from volforge.tasks.negative_volume.options import NegativeVolumeArm, NegativeVolumeStudy
from volforge.tasks.protocol import Keys, Places, Problem, ResolvedStudy

SIDES = ("left", "right")


def study_of(study: ResolvedStudy) -> NegativeVolumeStudy:
    """Settings of a study, with the keys of the task."""
    assert isinstance(study.settings, NegativeVolumeStudy)
    return study.settings


def joint_content(study: ResolvedStudy, arm: str) -> dict[str, Any]:
    """`joint` of an arm's settings: options of the study, ids by side, and how the arm inflates."""
    options = study_of(study).joint
    inflation = study_of(study).arms[arm].inflation
    assert inflation is not None
    content = options.model_dump(exclude={"condyle", "barrier", "others", "derive"})
    content["inflation"] = inflation.model_dump()
    content["derive"] = None
    if options.derive is not None:
        mandible = options.derive.mandible
        content["derive"] = {
            "skull": study.cohort.ids_of(options.derive.skull),
            "mandible": {
                "whole": study.cohort.ids_of(mandible),
                **{side: study.cohort.ids_of(mandible, side) for side in SIDES},
            },
        }
        return content
    content["sides"] = {
        side: {
            "condyle": study.cohort.ids_of(options.condyle, side),
            "barrier": study.cohort.ids_of(options.barrier, side),
            "others": [i for name in options.others for i in study.cohort.ids_of(name, side)],
            "drawn": study.cohort.ids_of(inflation.structure, side) if inflation.structure else [],
        }
        for side in SIDES
    }
    return content


def problems(loaded: Places, study: ResolvedStudy) -> Iterator[Problem]:
    """What is wrong with the joints of a study."""
    keys: tuple[str | int, ...] = ("studies", study.name)
    options = study_of(study).joint
    made = {"condyle", "barrier", "others"} if options.derive is not None else set()
    for key in sorted(options.model_fields_set & made):
        text = "nothing reads it: `derive` makes condyle and barrier"
        yield loaded.problem((*keys, "joint", key), text, "leave it out", key)
    if options.derive is None:
        for side in SIDES:
            condyle, barrier = (set(study.cohort.ids_of(g, side)) for g in (options.condyle, options.barrier))
            if condyle & barrier:
                text = f"condyle and barrier of the {side} side share labels"
                yield loaded.problem((*keys, "joint", "barrier"), text, "name two groups", options.barrier)
                break
        wanted = [("condyle", options.condyle), ("barrier", options.barrier), *(("others", n) for n in options.others)]
        for key, group in wanted:
            missing = [side for side in SIDES if not study.cohort.ids_of(group, side)]
            if missing:
                text = (
                    f"cohort '{study.cohort.name}' has no {' and no '.join(missing)} structure of the group '{group}'"
                )
                remedy = "give the table of structures a `group` and a `side`, or use `derive`"
                yield loaded.problem((*keys, "joint", key), text, remedy, group)
    else:
        for key, name in (("mandible", options.derive.mandible), ("skull", options.derive.skull)):
            if not any(name in (s.structure, s.group) for s in study.cohort.structures):
                text = f"cohort '{study.cohort.name}' has no such structure or group"
                yield loaded.problem((*keys, "joint", "derive", key), text, "look at its table of structures", name)
    for name, arm in study_of(study).arms.items():
        place = (*keys, "arms", name, "inflation")
        inflation = arm.inflation
        if inflation is not None and inflation.structure is not None and options.derive is not None:
            text = "the method `direct` needs condyle and barrier in the labels, not derived ones"
            yield loaded.problem((*place, "method"), text, "use it without `derive`", inflation.method)
        elif inflation is not None and inflation.structure is not None:
            missing = [side for side in SIDES if not study.cohort.ids_of(inflation.structure, side)]
            if missing:
                text = f"cohort '{study.cohort.name}' has no {' and no '.join(missing)} structure of this group"
                yield loaded.problem((*place, "structure"), text, "", inflation.structure)


def of_source(
    loaded: Places, study: ResolvedStudy, arm: NegativeVolumeArm, place: Keys, other: ResolvedStudy, source: str
) -> Iterator[Problem]:
    """What is wrong with the arm of another study whose labels are inflated."""
    assert arm.inflation is not None
    value = arm.inflation.labels_from
    if (
        other.task.makes != "labels"
        or other.task.reads != ("labels",)
        or isinstance(other.settings, NegativeVolumeStudy)
    ):
        yield loaded.problem(place, "that study makes no label maps of structures", "name one that segments", value)
        return
    made = _predicted(other, source)
    for name, ids in _needed(study, arm).items():
        if not set(ids) <= made:
            yield loaded.problem(place, f"that study does not predict all of {name}", "add it to its structures", value)
    lost = [n for n in study_of(study).joint.others if not set(study.cohort.ids_of(n)) <= made]
    is_learnt = other.settings.arms[source].baseline is None  # a threshold cannot be taught more
    if lost and is_learnt and study_of(study).joint.derive is None:
        text = f"that study does not predict {', '.join(lost)}: its place counts as space there"
        problem = loaded.problem(place, text, "add it to its structures, or know that totals are too large", value)
        yield replace(problem, level="warning")


def _predicted(study: ResolvedStudy, arm: str) -> set[int]:
    """Ids in the predictions of an arm: what its models learn; else what the study measures."""
    models = [m for m in study.models_of(arm).values() if m.kind != "localiser"]
    names = {n for m in models for n in m.structures or []}
    everything = not models or any(not m.structures for m in models)
    measured = {s["id"] for s in study.structures()} if everything else set()
    return measured | {s["id"] for s in study.learnable() if s["structure"] in names}


def _needed(study: ResolvedStudy, arm: NegativeVolumeArm) -> dict[str, set[int]]:
    """Ids that the labels of an arm must have, by the name of their structure or group."""
    options = study_of(study).joint
    wanted = [options.condyle, options.barrier]
    if options.derive is not None:
        wanted = [options.derive.mandible, options.derive.skull]
    if arm.inflation is not None and arm.inflation.structure is not None:
        wanted.append(arm.inflation.structure)
    return {name: set(study.cohort.ids_of(name)) for name in wanted}
