"""Models of studies as resolved: what their trainings are told, and what is wrong with them before anything runs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from volforge import components
from volforge.config.studies import SHARED
from volforge.config.training import ModelOptions, Training, resolve
from volforge.errors import Problem
from volforge.tasks.semantic_synthesis import checks as study_synthesis
from volforge.workflow.code_hash import hash_of_modules

if TYPE_CHECKING:
    from volforge.workflow.load import Loaded
    from volforge.workflow.studies import ResolvedStudy

DEFAULT_LOSS = {"name": "dice_ce"}
DILATE_MM = 5.0


def models_of(study: ResolvedStudy, arm: str) -> dict[str, ModelOptions]:
    """Models of an arm, or of `shared`, with the study's defaults in them."""
    own = study.settings.shared if arm == SHARED else study.settings.arms[arm].models
    return {name: resolve(options, study.settings.defaults) for name, options in own.items()}


def trained(study: ResolvedStudy) -> Iterator[tuple[str, str]]:
    """Arm and model of everything that is trained, `shared` first."""
    for arm in (SHARED, *study.settings.arms):
        for model in models_of(study, arm):
            yield arm, model


def inference(study: ResolvedStudy, arm: str) -> dict[str, Any]:
    """How an arm's models are applied; compute threads are those of the training."""
    threads = max(m.training.threads if m.training else 1 for m in models_of(study, arm).values())
    return {**study.settings.arms[arm].inference.model_dump(), "threads": threads}


def localiser(study: ResolvedStudy, arm: str) -> str:
    """Name of the shared model that finds the joints for an arm, empty where none is needed."""
    needs = [n for m in models_of(study, arm).values() for n in m.needs or []]
    return needs[0].split("/")[1] if needs else ""


def training_of(study: ResolvedStudy, arm: str, model: str) -> Training:
    """How a model is trained."""
    return models_of(study, arm)[model].training or Training()


def needs_distances(study: ResolvedStudy, arm: str, model: str) -> bool:
    """Whether the training of a model reads distance maps."""
    return components.needs_distance(_loss(models_of(study, arm)[model]))


def _loss(options: ModelOptions) -> dict[str, Any]:
    return options.loss.spec if options.loss else dict(DEFAULT_LOSS)


def by_side(study: ResolvedStudy) -> dict[str, dict[str, int]]:
    """Id by side of every structure that is learnt and has sides."""
    found: dict[str, dict[str, int]] = {}
    for s in study.learnable():
        if s["side"]:
            found.setdefault(s["structure"], {})[s["side"]] = s["id"]
    return found


def model_settings(study: ResolvedStudy, arm: str, model: str) -> dict[str, Any]:
    """`<model>.train.json`: all that the training of a model reads."""
    options = models_of(study, arm)[model]
    if study.settings.task == study_synthesis.TASK:
        return study_synthesis.generator_settings(study, arm, model, options)
    assert options.network is not None
    assert options.recipe is not None
    kind = options.kind or "structures"
    wanted = options.structures or list(dict.fromkeys(s["structure"] for s in study.structures()))
    sided = by_side(study)
    region = None
    if options.region is not None and kind == "structures":
        region = {**options.region.model_dump(), "ids": sided[options.region.around]}
    if region is not None or kind == "localiser":
        classes = [{"structure": w, "side": "", "ids": sided[w]} for w in wanted]
    else:
        named = [s for s in study.learnable() if s["structure"] in wanted]
        classes = [{"structure": s["structure"], "side": s["side"], "ids": {"": s["id"]}} for s in named]
    loss, network = _loss(options), options.network.spec
    modules = [components.module_of("network", network), components.module_of("loss", loss)]
    own = [components.file_hash("network", network), components.file_hash("loss", loss)]
    return {
        "study": study.name,
        "arm": arm,
        "model": model,
        "cohort": study.cohort.name,
        "by_fold": bool(study.settings.folds),
        "kind": kind,
        "classes": classes,
        "recipe": options.recipe,
        "recipe_settings": study.recipes[options.recipe],
        "region": region,
        "dilate_mm": options.dilate_mm if options.dilate_mm is not None else DILATE_MM,
        "network": network,
        "loss": loss,
        "training": (options.training or Training()).model_dump(),
        "own": "-".join(filter(None, [hash_of_modules(m for m in modules if m), *own])),
    }


def settings_json(study: ResolvedStudy, arm: str, model: str) -> str:
    """The same as one line of JSON."""
    return json.dumps(model_settings(study, arm, model), ensure_ascii=False, separators=(",", ":"))


def problems(loaded: Loaded, study: ResolvedStudy) -> Iterator[Problem]:
    """What is wrong with a study's models."""
    for arm in (SHARED, *study.settings.arms):
        where = ("shared",) if arm == SHARED else ("arms", arm, "models")
        for name, options in models_of(study, arm).items():
            keys = ("studies", study.name, *where, name)
            if study.settings.task == study_synthesis.TASK:
                yield from study_synthesis.problems(loaded, study, keys, options)
                yield from study_synthesis.problems_of_samples(loaded, study, keys[:4])
                continue
            if options.synthesis is not None:
                yield loaded.problem((*keys, "synthesis"), "is for the task semantic_synthesis", "leave it out")
            yield from _of_components(loaded, study, keys, options)
            yield from _of_data(loaded, study, keys, options)
            yield from _of_needs(loaded, study, keys, options, arm)
            yield from _of_sides(loaded, study, keys, options, arm)


def _of_components(
    loaded: Loaded, study: ResolvedStudy, keys: tuple[str, ...], options: ModelOptions
) -> Iterator[Problem]:
    if options.network is None:
        text = "a model needs a network"
        remedy = f"add `network:`; known: {', '.join(components.NAMES['network'])}"
        yield loaded.problem(keys, text, remedy)
    for kind, component in (("network", options.network), ("loss", options.loss)):
        if component is None:
            continue
        own = (*keys, kind)
        place = own if own in loaded.places else ("studies", study.name, "defaults", kind)
        for message, remedy in components.check(kind, component.spec):  # type: ignore[arg-type]
            yield loaded.problem(place, message, remedy, component.name)


def _of_data(loaded: Loaded, study: ResolvedStudy, keys: tuple[str, ...], options: ModelOptions) -> Iterator[Problem]:
    names = list(dict.fromkeys(s["structure"] for s in study.structures()))
    known = {s["structure"] for s in study.learnable()}
    sided = by_side(study)
    for name in options.structures or []:
        if name not in known:
            groups = dict.fromkeys(n for s in study.cohort.structures for n in (s.group, s.structure) if n)
            text = f"the cohort has no structure or group '{name}'"
            yield loaded.problem((*keys, "structures"), text, f"known: {', '.join(groups)}", name)
    learnt = options.structures or names
    for name in (options.training or Training()).centred_on:
        if name not in learnt:
            text = f"'{name}' is not learnt by the model"
            yield loaded.problem((*keys, "training", "centred_on"), text, f"learnt: {', '.join(learnt)}", name)
    if options.recipe is None:
        yield loaded.problem(keys, "a model needs a recipe of the kind `region`", "add `recipe:`")
    else:
        yield from _of_recipe(loaded, study.recipes, (*keys, "recipe"), options.recipe)
    needs_sides = options.region is not None or options.kind == "localiser"
    if needs_sides:
        wanted = options.structures or names
        lonely = [n for n in wanted if set(sided.get(n, {})) != {"left", "right"} and n in known]
        for name in lonely:
            text = f"'{name}' has no left and right in the cohort's table of structures"
            yield loaded.problem(keys, text, "fill its columns `side` and `group`", name)
    if options.region is not None and options.region.around not in sided:
        remedy = f"structures with sides: {', '.join(sided) or 'none'}"
        yield loaded.problem((*keys, "region", "around"), "no such structure with sides", remedy, options.region.around)


def _of_sides(
    loaded: Loaded, study: ResolvedStudy, keys: tuple[str, ...], options: ModelOptions, arm: str
) -> Iterator[Problem]:
    """Flips of left and right exchange the sides of labels that are told apart: only boxes see one side."""
    if options.region is not None or options.kind == "localiser":
        return
    wanted = options.structures or [s["structure"] for s in study.structures()]
    sided = [w for w in wanted if w in by_side(study)]
    training = options.training or Training()
    flips = training.augmentation == "published" or (
        training.augmentation in ("light", "standard") and "x" in training.flip
    )
    if sided and (flips or (arm != SHARED and "x" in study.settings.arms[arm].inference.flips)):
        text = f"flips of x would exchange left and right of {', '.join(sided)}"
        remedy = "leave x out of `flip` and `flips` (`published` flips it too), or use boxes about joints (`region`)"
        yield loaded.problem(keys, text, remedy)


def _of_recipe(
    loaded: Loaded, recipes: Mapping[str, Mapping[str, Any]], keys: tuple[str, ...], name: str
) -> Iterator[Problem]:
    if name not in recipes:
        near = difflib.get_close_matches(name, list(recipes), n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"defined: {', '.join(recipes) or 'none'}"
        yield loaded.problem(keys, "recipe is not defined", remedy, name)
    elif recipes[name]["kind"] != "region":
        yield loaded.problem(
            keys, "label maps are learnt from regions, not slices", "name a recipe `kind: region`", name
        )
    elif not isinstance(recipes[name]["around"], str):
        text = "the recipe lies around labels, which a scan to be predicted does not have"
        yield loaded.problem(keys, text, "use `around: image` or `body`, and a localiser for small regions", name)


def _of_needs(
    loaded: Loaded, study: ResolvedStudy, keys: tuple[str, ...], options: ModelOptions, arm: str
) -> Iterator[Problem]:
    finders = [f"{SHARED}/{n}" for n, m in models_of(study, SHARED).items() if m.kind == "localiser"]
    for need in options.needs or []:
        if need not in finders:
            remedy = f"localisers: {', '.join(finders) or 'none; add one under `shared`'}"
            yield loaded.problem((*keys, "needs"), f"no localiser '{need}'", remedy, need)
    is_localiser = options.kind == "localiser"
    is_known = options.loss is not None and not components.check("loss", options.loss.spec)
    if is_localiser and is_known and components.needs_distance(_loss(options)):
        text = "a localiser's target has no distance maps"
        yield loaded.problem((*keys, "loss"), text, "use dice_ce, dice or ce", _loss(options)["name"])
    if is_localiser and arm != SHARED:
        yield loaded.problem((*keys, "kind"), "a localiser serves all arms", "write it under `shared`")
    if options.region is not None and not options.needs and not is_localiser:
        text = "boxes about joints need a localiser that finds them in a new scan"
        yield loaded.problem((*keys, "region"), text, "add `needs: [shared/<model>]`")
