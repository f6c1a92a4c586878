"""What is wrong with the models of a segmentation study, before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from volforge.tasks.protocol import SHARED, ModelOptions, Places, Problem, ResolvedStudy, Training, components


def of_data(loaded: Places, study: ResolvedStudy, keys: tuple[str, ...], options: ModelOptions) -> Iterator[Problem]:
    """Network, recipe and structures that there are."""
    if options.network is None:
        text = "a model needs a network"
        yield loaded.problem(keys, text, f"add `network:`; known: {', '.join(components.NAMES['network'])}")
    names = list(dict.fromkeys(s["structure"] for s in study.structures()))
    known = {s["structure"] for s in study.learnable()}
    sided = study.by_side()
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


def unread(
    loaded: Places, study: ResolvedStudy, keys: tuple[str, ...], options: ModelOptions, arm: str
) -> Iterator[Problem]:
    """What stands at a model, or at its arm, and nothing would read."""
    place = study.settings.shared if arm == SHARED else study.settings.arms[arm].models
    own = place[keys[-1]]
    faults: list[tuple[tuple[str, ...], str]] = []
    if own.region is not None and options.kind == "localiser":
        faults.append((("region",), "a localiser sees the whole scan"))
    if own.dilate_mm is not None and options.kind != "localiser":
        faults.append((("dilate_mm",), "it belongs to a localiser"))
    if own.needs and options.region is None:
        faults.append((("needs",), "boxes about joints alone need a localiser: there is no `region`"))
    for path, why in faults:
        yield loaded.problem((*keys, *path), f"nothing reads it: {why}", "leave it out", path[-1])
    if arm != SHARED:
        yield from _of_inference(loaded, study, arm)


def _of_inference(loaded: Places, study: ResolvedStudy, arm: str) -> Iterator[Problem]:
    inference, place = study.settings.arms[arm].inference, ("studies", study.name, "arms", arm, "inference")
    for key in sorted(inference.model_fields_set & {"samples", "truncation", "vary", "between"}):
        yield loaded.problem((*place, key), "label maps have no samples", "leave it out", key)
    names = [s["structure"] for s in study.learnable()]
    for name in inference.keep:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            remedy = f"did you mean '{near[0]}'?" if near else f"learnt: {', '.join(dict.fromkeys(names))}"
            yield loaded.problem((*place, "keep", name), "no such structure is learnt", remedy, name)


def of_sides(
    loaded: Places, study: ResolvedStudy, keys: tuple[str, ...], options: ModelOptions, arm: str
) -> Iterator[Problem]:
    """Flips of left and right exchange the sides of labels that are told apart: only boxes see one side."""
    if options.region is not None or options.kind == "localiser":
        return
    wanted = options.structures or [s["structure"] for s in study.structures()]
    sided = [w for w in wanted if w in study.by_side()]
    training = options.training or Training()
    flips = training.augmentation == "published" or (
        training.augmentation in ("light", "standard") and "x" in training.flip
    )
    if sided and (flips or (arm != SHARED and "x" in study.settings.arms[arm].inference.flips)):
        text = f"flips of x would exchange left and right of {', '.join(sided)}"
        remedy = "leave x out of `flip` and `flips` (`published` flips it too), or use boxes about joints (`region`)"
        yield loaded.problem(keys, text, remedy)


def _of_recipe(
    loaded: Places, recipes: Mapping[str, Mapping[str, Any]], keys: tuple[str, ...], name: str
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


def of_localiser(
    loaded: Places,
    study: ResolvedStudy,
    keys: tuple[str, ...],
    options: ModelOptions,
    arm: str,
    loss: Mapping[str, Any],
) -> Iterator[Problem]:
    """A localiser serves all arms, and boxes about joints need one."""
    is_localiser = options.kind == "localiser"
    is_known = options.loss is not None and not components.check("loss", loss)
    if is_localiser and is_known and components.needs_distance(loss):
        text = "a localiser's target has no distance maps"
        yield loaded.problem((*keys, "loss"), text, "use dice_ce, dice or ce", loss["name"])
    if is_localiser and arm != SHARED:
        yield loaded.problem((*keys, "kind"), "a localiser serves all arms", "write it under `shared`")
    if options.region is not None and not options.needs and not is_localiser:
        text = "boxes about joints need a localiser that finds them in a new scan"
        yield loaded.problem((*keys, "region"), text, "add `needs: [shared/<model>]`")
