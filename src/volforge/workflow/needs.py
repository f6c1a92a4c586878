"""Which models and predictions need which others: resolved, and refused where that is unknown, circular or leaking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volforge.config.studies import SHARED
from volforge.errors import Problem
from volforge.tasks.resolved import ResolvedStudy

if TYPE_CHECKING:
    from volforge.tasks.protocol import Keys
    from volforge.workflow.load import Loaded

Studies = Mapping[str, ResolvedStudy]


@dataclass(frozen=True, order=True)
class Named:
    """A model of an arm (or of `shared`) of a study; without a model, the predictions of the arm."""

    study: str
    arm: str
    model: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.study, self.arm, self.model)))


def parse(study: str, arm: str, need: str) -> Named | None:
    """What an entry of `needs` names: `<model>` of its own arm, `shared/<model>` or `<study>/<arm>/<model>`."""
    words = need.split("/")
    if not all(words):
        return None
    if len(words) == 1:
        return Named(study, arm, words[0])
    if len(words) == 2:
        return Named(study, SHARED, words[1]) if words[0] == SHARED else None
    return Named(*words) if len(words) == 3 else None


def needs_of(study: ResolvedStudy, arm: str, model: str) -> dict[str, Named]:
    """The models that a model needs, by the word of the configuration."""
    found = {n: parse(study.name, arm, n) for n in words_of(study, arm, model)}
    return {n: named for n, named in found.items() if named is not None}


def words_of(study: ResolvedStudy, arm: str, model: str) -> list[str]:
    """`needs` of a model; where it comes from the study's defaults, without the model itself."""
    words = study.models_of(arm)[model].needs or []
    own = study.settings.shared if arm == SHARED else study.settings.arms[arm].models
    if own[model].needs is not None:
        return words
    return [n for n in words if parse(study.name, arm, n) != Named(study.name, arm, model)]


def all_needs(studies: Studies, study: ResolvedStudy, arm: str) -> dict[str, Named]:
    """Models that the predictions of an arm read: its own by name, and what they need, directly or through others."""
    found = {m: Named(study.name, arm, m) for m in study.models_of(arm)}
    waiting = list(found.values())
    while waiting:
        named = waiting.pop(0)
        for other in needs_of(studies[named.study], named.arm, named.model).values():
            if other not in found.values():
                found[_key(other, study.name, arm)] = other
                waiting.append(other)
    return found


def _key(named: Named, study: str, arm: str) -> str:
    """How the arm itself would name a model: whoever needs it, no model of another arm passes for one of its own."""
    if named.study != study:
        return str(named)
    return named.model if named.arm == arm else f"{named.arm}/{named.model}"


def problems(loaded: Loaded, studies: Studies) -> Iterator[Problem]:
    """What is wrong with all needs and sources of predictions of a run."""
    broken = False
    for study in studies.values():
        for arm, model in study.trained():
            for i, need in enumerate(words_of(study, arm, model)):
                for problem in _of_need(loaded, studies, study, arm, model, need, i):
                    broken = True
                    yield problem
        for problem in _of_sources(loaded, studies, study):
            broken = broken or problem.level == "error"
            yield problem
    if not broken:
        yield from _circles(loaded, studies)


def _of_need(
    loaded: Loaded, studies: Studies, study: ResolvedStudy, arm: str, model: str, need: str, number: int
) -> Iterator[Problem]:
    keys: Keys = (*study.model_keys(arm, model), "needs", number)
    if keys not in loaded.places:
        keys = keys[:-1]
    named = parse(study.name, arm, need)
    other = studies.get(named.study) if named else None
    has_arm = other is not None and named is not None and (named.arm == SHARED or named.arm in other.settings.arms)
    if named is None or other is None or not has_arm or named.model not in other.models_of(named.arm):
        known = [
            word
            for word, named in _candidates(studies, study, arm, model)
            if not study.task.may_need(study, arm, model, studies[named.study].models_of(named.arm)[named.model])
        ]
        remedy = f"models: {', '.join(known)}" if known else "there is none; add one under `shared`"
        yield loaded.problem(keys, f"no model '{need}'", remedy, need)
        return
    if arm == SHARED and named.study == study.name and named.arm != SHARED:
        yield loaded.problem(keys, "what all arms share cannot need the model of one arm", "name a shared one", need)
    reason = study.task.may_need(study, arm, model, other.models_of(named.arm)[named.model])
    if reason:
        yield loaded.problem(keys, f"'{need}' cannot be needed here: {reason}", "name another model", need)
    if other is not study:
        yield from _of_another(loaded, study, other, keys, need)


def _candidates(studies: Studies, study: ResolvedStudy, arm: str, model: str) -> Iterator[tuple[str, Named]]:
    """All models but one, as it may name them."""
    for other in studies.values():
        for where, name in other.trained():
            named = Named(other.name, where, name)
            if other is not study:
                yield str(named), named
            elif where == SHARED and (arm, model) != (where, name):
                yield f"{SHARED}/{name}", named
            elif where == arm and name != model:
                yield name, named


def _of_another(
    loaded: Loaded, study: ResolvedStudy, other: ResolvedStudy, keys: Keys, value: str
) -> Iterator[Problem]:
    """Models and predictions of another study must have left out the same subjects, or they have seen ours."""
    if other.cohort.name != study.cohort.name:
        text = f"that study is of the cohort '{other.cohort.name}', this one of '{study.cohort.name}'"
        yield loaded.problem(keys, text, "take one of the same cohort", value)
    if bool(other.settings.folds) != bool(study.settings.folds) or not set(study.folds) <= set(other.folds):
        text = f"that study has the folds {other.settings.folds or 'none'}, this one {study.settings.folds or 'none'}"
        yield loaded.problem(keys, text, "test the same folds in both", value)
    if not set(study.settings.seeds) <= set(other.settings.seeds):
        text = f"that study has the seeds {other.settings.seeds}, this one {study.settings.seeds}"
        yield loaded.problem(keys, text, "use the same seeds in both", value)


def _of_sources(loaded: Loaded, studies: Studies, study: ResolvedStudy) -> Iterator[Problem]:
    """Arms that take the predictions of another arm."""
    for name, arm in study.settings.arms.items():
        source = study.task.labels_from(arm)
        if source is None:
            continue
        keys: Keys = ("studies", study.name, *study.task.key_of_labels_from(name))
        value = "/".join(source)
        other = studies.get(source[0])
        if other is None or source[1] not in other.settings.arms:
            arms = [
                f"{s}/{a}"
                for s, r in studies.items()
                for a in r.settings.arms
                if s != study.name and not list(study.task.problems_of_sources(loaded, study, name, keys, r, a))
            ]
            remedy = f"`labels`, or one of {', '.join(arms) or 'none: there is no other study'}"
            yield loaded.problem(keys, "no such arm of another study", remedy, value)
            continue
        yield from _of_another(loaded, study, other, keys, value)
        yield from study.task.problems_of_sources(loaded, study, name, keys, other, source[1])


def _circles(loaded: Loaded, studies: Studies) -> Iterator[Problem]:
    """Models or predictions that need themselves in the end."""
    edges: dict[Named, list[tuple[Named, Keys]]] = {}
    for study in studies.values():
        for arm, model in study.trained():
            keys: Keys = (*study.model_keys(arm, model), "needs")
            own = edges.setdefault(Named(study.name, arm, model), [])
            own += [(named, keys) for named in needs_of(study, arm, model).values()]
        for name, arm_settings in study.settings.arms.items():
            own = edges.setdefault(Named(study.name, name), [])
            source = study.task.labels_from(arm_settings)
            if source is not None:
                place: Keys = ("studies", study.name, *study.task.key_of_labels_from(name))
                own.append((Named(*source), place))
    done: set[Named] = set()

    def visit(node: Named, path: list[Named]) -> Iterator[Problem]:
        for other, keys in edges.get(node, []):
            if other in path:
                circle = " needs ".join(str(n) for n in [*path[path.index(other) :], other])
                yield loaded.problem(keys, f"needs itself in the end: {circle}", "cut the circle", str(other))
            elif other not in done:
                yield from visit(other, [*path, other])
        done.add(node)

    for node in sorted(edges):
        if node not in done:
            yield from visit(node, [node])
