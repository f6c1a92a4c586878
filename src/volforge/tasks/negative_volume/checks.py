"""Negative volumes as resolved: which labels make a joint, where they come from, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from volforge.errors import Problem
from volforge.tasks.segmentation import checks as study_models

if TYPE_CHECKING:
    from volforge.config.studies import Arm
    from volforge.workflow.load import Loaded
    from volforge.workflow.studies import ResolvedStudy

TASK = "negative_volume"
SIDES = ("left", "right")


def joint_content(study: ResolvedStudy, arm: str) -> dict[str, Any]:
    """`joint` of an arm's settings: options of the study, ids by side, and how the arm inflates."""
    options = study.settings.joint
    inflation = study.settings.arms[arm].inflation
    assert inflation is not None
    content = options.model_dump(exclude={"condyle", "barrier", "others", "derive"})
    content["inflation"] = inflation.model_dump()
    content["derive"] = None
    if options.derive is not None:
        whole = [s.id for s in study.cohort.structures if options.derive.mandible in (s.structure, s.group)]
        content["derive"] = {
            "skull": [s.id for s in study.cohort.structures if options.derive.skull in (s.structure, s.group)],
            "mandible": {"whole": whole, **{side: ids_of(study, options.derive.mandible, side) for side in SIDES}},
        }
        return content
    content["sides"] = {
        side: {
            "condyle": ids_of(study, options.condyle, side),
            "barrier": ids_of(study, options.barrier, side),
            "others": [i for name in options.others for i in ids_of(study, name, side)],
            "drawn": ids_of(study, inflation.structure, side) if inflation.structure else [],
        }
        for side in SIDES
    }
    return content


def ids_of(study: ResolvedStudy, group: str, side: str) -> list[int]:
    """Ids of the structures of a group and side."""
    return [s.id for s in study.cohort.structures if s.side == side and group in (s.group, s.structure)]


def labels_source(arm: Arm) -> tuple[str, str] | None:
    """Study and arm whose predictions an arm inflates; None where it takes the scans' own labels."""
    if arm.inflation is None or arm.inflation.labels_from == "labels":
        return None
    study, _, other = arm.inflation.labels_from.partition("/")
    return study, other


def problems(loaded: Loaded, study: ResolvedStudy, studies: Mapping[str, ResolvedStudy]) -> Iterator[Problem]:
    """What is wrong with the joints of a study."""
    if study.settings.task != TASK:
        return
    keys: tuple[str | int, ...] = ("studies", study.name)
    options = study.settings.joint
    if options.derive is None:
        wanted = [("condyle", options.condyle), ("barrier", options.barrier), *(("others", n) for n in options.others)]
        for key, group in wanted:
            missing = [side for side in SIDES if not ids_of(study, group, side)]
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
    for name, arm in study.settings.arms.items():
        place = (*keys, "arms", name, "inflation")
        inflation = arm.inflation
        if inflation is not None and inflation.structure is not None and options.derive is not None:
            text = "the method `direct` needs condyle and barrier in the labels, not derived ones"
            yield loaded.problem((*place, "method"), text, "use it without `derive`", inflation.method)
        elif inflation is not None and inflation.structure is not None:
            missing = [side for side in SIDES if not ids_of(study, inflation.structure, side)]
            if missing:
                text = f"cohort '{study.cohort.name}' has no {' and no '.join(missing)} structure of this group"
                yield loaded.problem((*place, "structure"), text, "", inflation.structure)
        yield from _of_source(loaded, study, studies, arm, (*place, "labels_from"))


def _of_source(
    loaded: Loaded,
    study: ResolvedStudy,
    studies: Mapping[str, ResolvedStudy],
    arm: Arm,
    place: tuple[str | int, ...],
) -> Iterator[Problem]:
    source = labels_source(arm)
    if source is None:
        return
    assert arm.inflation is not None
    value = arm.inflation.labels_from
    other = studies.get(source[0])
    known = [f"{s}/{a}" for s, r in studies.items() if r.settings.task == "segmentation" for a in r.settings.arms]
    if other is None or source[1] not in other.settings.arms or other.settings.task != "segmentation":
        remedy = f"`labels`, or one of {', '.join(known) or 'none: there is no segmentation study'}"
        yield loaded.problem(place, "no such arm of a segmentation study", remedy, value)
        return
    if other.cohort.name != study.cohort.name:
        text = f"that study is of the cohort '{other.cohort.name}', this one of '{study.cohort.name}'"
        yield loaded.problem(place, text, "take predictions of the same cohort", value)
    if bool(other.settings.folds) != bool(study.settings.folds) or not set(study.folds) <= set(other.folds):
        text = f"that study has the folds {other.settings.folds or 'none'}, this one {study.settings.folds or 'none'}"
        yield loaded.problem(place, text, "test the same folds in both", value)
    if not set(study.settings.seeds) <= set(other.settings.seeds):
        text = f"that study has the seeds {other.settings.seeds}, this one {study.settings.seeds}"
        yield loaded.problem(place, text, "use the same seeds in both", value)
    made = _predicted(other, source[1])
    for name, ids in _needed(study, arm).items():
        if not set(ids) <= made:
            yield loaded.problem(place, f"that study does not predict all of {name}", "add it to its structures", value)
    lost = [n for n in study.settings.joint.others if not _ids(study, n) <= made]
    is_learnt = other.settings.arms[source[1]].baseline is None  # a threshold cannot be taught more
    if lost and is_learnt and study.settings.joint.derive is None:
        text = f"that study does not predict {', '.join(lost)}: its place counts as space there"
        problem = loaded.problem(place, text, "add it to its structures, or know that totals are too large", value)
        yield replace(problem, level="warning")


def _predicted(study: ResolvedStudy, arm: str) -> set[int]:
    """Ids in the predictions of an arm: what its models learn; else what the study measures."""
    models = [m for m in study_models.models_of(study, arm).values() if m.kind != "localiser"]
    names = {n for m in models for n in m.structures or []}
    everything = not models or any(not m.structures for m in models)
    measured = {s["id"] for s in study.structures()} if everything else set()
    return measured | {s["id"] for s in study.learnable() if s["structure"] in names}


def _needed(study: ResolvedStudy, arm: Arm) -> dict[str, set[int]]:
    """Ids that the labels of an arm must have, by the name of their structure or group."""
    options = study.settings.joint
    wanted = [options.condyle, options.barrier]
    if options.derive is not None:
        wanted = [options.derive.mandible, options.derive.skull]
    if arm.inflation is not None and arm.inflation.structure is not None:
        wanted.append(arm.inflation.structure)
    return {name: _ids(study, name) for name in wanted}


def _ids(study: ResolvedStudy, group: str) -> set[int]:
    return {s.id for s in study.cohort.structures if group in (s.group, s.structure)}
