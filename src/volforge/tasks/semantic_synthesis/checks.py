"""Generators as resolved: what their training reads, and what is wrong with them before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from volforge.tasks.protocol import ModelOptions, PercentileWindow, Places, Problem, ResolvedStudy, components
from volforge.tasks.semantic_synthesis.options import GeneratorOptions, Synthesis, SynthesisStudy

KIND = "synthesis"
UNREAD = frozenset(
    ("patch", "patches", "foreground", "centred_on", "optimizer", "rate", "weight_decay", "schedule", "step_every",
     "warmup", "clip", "validation_cases")
)  # fmt: skip
GENERATORS = ("oasis_generator", "wavelet_generator")
SEGMENTERS = ("oasis_segmenter",)
DISCRIMINATORS = ("wavelet_discriminator", "patch_discriminator")
READ_INFERENCE = {"samples", "truncation", "vary", "between"}
PERCENT = PercentileWindow(kind="percentile").model_dump()
LEAST_SIDE = 16  # of the wavelet discriminator
SIDES = {"left": "right", "right": "left"}


def synthesis_of(options: ModelOptions) -> Synthesis:
    """How a generator is taught."""
    assert isinstance(options, GeneratorOptions)
    return options.synthesis or Synthesis()


def generator_settings(study: ResolvedStudy, arm: str, model: str) -> dict[str, Any]:
    """Content of `<model>.train.json` of a generator."""
    options = study.models_of(arm)[model]
    assert options.network is not None
    assert options.recipe is not None
    assert isinstance(study.settings, SynthesisStudy)
    return {
        "kind": KIND,
        "classes": _classes(study),
        "recipe": options.recipe,
        "recipe_settings": study.recipes[options.recipe],
        "source": study.settings.source.model_dump(),
        "target": study.settings.target.model_dump(),
        "network": options.network.spec,
        "synthesis": synthesis_of(options).plain(),
        "training": study.training_of(arm, model).model_dump(),
    }


def mask_pairs(study: ResolvedStudy) -> list[list[str]]:
    """Arms that are trained alike but for the mask loss: the one without it, and one with it."""
    found: dict[str, Mapping[str, Any]] = {}
    for arm in study.settings.arms:
        models = study.models_of(arm)
        if all(m.network is not None and m.recipe is not None for m in models.values()) and models:
            found[arm] = generator_settings(study, arm, next(iter(models)))
    weights = {arm: float(s["synthesis"]["outline"]) for arm, s in found.items()}
    alike = {arm: {**s, "synthesis": {**s["synthesis"], "outline": 0}} for arm, s in found.items()}
    return [[a, b] for a in found for b in found if not weights[a] and weights[b] and alike[a] == alike[b]]


def legacy_recipes(study: ResolvedStudy) -> dict[str, Any]:
    """Recipes of its generators that take the background away by the published rule."""
    used = [m.recipe for arm in study.settings.arms for m in study.models_of(arm).values() if m.recipe in study.recipes]
    legacy = {r: study.recipes[r] for r in used if r is not None}
    return {r: s for r, s in legacy.items() if s.get("background") == "legacy_threshold"}


def _classes(study: ResolvedStudy) -> list[dict[str, Any]]:
    """All structures of the cohort, whatever is measured of them: a map is painted whole."""
    every = study.labelled()
    by_side = {(s["structure"], s["side"]): s["id"] for s in every}
    return [
        {
            "structure": s["structure"],
            "side": s["side"],
            "id": s["id"],
            "mirrored": by_side.get((s["structure"], SIDES.get(s["side"], "")), s["id"]),
        }
        for s in every
    ]


def problems(loaded: Places, study: ResolvedStudy, keys: tuple[str, ...], options: ModelOptions) -> Iterator[Problem]:
    """What is wrong with a generator."""
    own = synthesis_of(options)
    key, fault = own.wrong()
    if fault:
        yield loaded.problem((*keys, "synthesis", key), fault, "see docs/semantic-synthesis.md", str(getattr(own, key)))
    at = _said_at(study, keys)
    for key, why in own.unread(at):
        yield loaded.problem((*keys, "synthesis", key), f"nothing reads it: {why}", "leave it out", key)
    if "edge_hu" in at and study_target(study) == "MR":
        text = "images of MR are in percent, and the outline's edge is that of their window"
        yield loaded.problem((*keys, "synthesis", "edge_hu"), text, "leave it out", f"{own.edge_hu:g}")
    yield from _of_networks(loaded, keys, options, own)
    flips = options.training.flip if options.training is not None else []
    if set(flips) - {"x"}:
        text = "slices are not flipped upside down, nor back to front"
        yield loaded.problem((*keys, "training", "flip"), text, "use `flip: [x]` or none", str(flips))
    if options.network is None:
        yield loaded.problem(keys, "a model needs a network", "add `network: oasis_generator` or `wavelet_generator`")
    for key in ("kind", "loss", "region", "needs", "dilate_mm", "structures"):
        if getattr(options, key) is not None:
            yield loaded.problem((*keys, key), "has no meaning for a generator", "leave it out", key)
    said = options.training.model_fields_set if options.training is not None else set()
    for key in sorted(said & UNREAD):
        remedy = "rates and weights of a generator stand in `synthesis`" if key == "rate" else "leave it out"
        yield loaded.problem((*keys, "training", key), "has no meaning for a generator", remedy, key)
    yield from _unknown(loaded, study, (*keys, "synthesis", "dark"), own.dark)
    yield from _of_recipe(loaded, study.recipes, keys, options.recipe, study_target(study) == "MR")
    drawn = options.network.spec if options.network is not None else {}
    if own.variety and drawn.get("noise", 64) == 0 and not drawn.get("grain"):
        text, remedy = (
            "samples cannot differ: the network has no noise",
            "give it `noise` or `grain`, or leave this out",
        )
        yield loaded.problem((*keys, "synthesis", "variety"), text, remedy, f"{own.variety:g}")
    size = study.recipes.get(options.recipe or "", {}).get("size")
    is_wavelet = own.discriminator is not None and own.discriminator.name == "wavelet_discriminator"
    if is_wavelet and size is not None and not _is_square_of_two(size):
        text = f"the wavelet discriminator sees squares with a power of two from {LEAST_SIDE}, not {size}"
        yield loaded.problem((*keys, "recipe"), text, "change the recipe's `size`", options.recipe)


def _said_at(study: ResolvedStudy, keys: tuple[str, ...]) -> set[str]:
    """Keys of `synthesis` that stand at a generator itself; `keys` lead to it."""
    options = study.settings.arms[keys[3]].models[keys[-1]]
    assert isinstance(options, GeneratorOptions)
    return set() if options.synthesis is None else set(options.synthesis.model_fields_set)


def _of_networks(loaded: Places, keys: tuple[str, ...], options: ModelOptions, own: Synthesis) -> Iterator[Problem]:
    """Networks of ours that were made for something else; the user's own may be anything."""
    for place, network, fitting in (
        (("network",), options.network, GENERATORS),
        (("synthesis", "segmenter"), own.segmenter, SEGMENTERS),
        (("synthesis", "discriminator"), own.discriminator, DISCRIMINATORS),
    ):
        if network is not None and network.name in components.NAMES["network"] and network.name not in fitting:
            text, remedy = "a network for something else", f"use {' or '.join(fitting)}"
            yield loaded.problem((*keys, *place), text, remedy, network.name)


def problems_of_samples(loaded: Places, study: ResolvedStudy, keys: tuple[str, ...]) -> Iterator[Problem]:
    """What is wrong with the samples that an arm asks for; `keys` lead to the arm."""
    inference = study.settings.arms[keys[3]].inference
    for key in sorted(inference.model_fields_set - READ_INFERENCE):
        yield loaded.problem((*keys, "inference", key), "has no meaning for a generator", "leave it out", key)
    yield from _unknown(loaded, study, (*keys, "inference", "vary"), inference.vary)


def study_target(study: ResolvedStudy) -> str:
    """Modality of what is painted."""
    assert isinstance(study.settings, SynthesisStudy)
    return study.settings.target.modality


def _unknown(
    loaded: Places, study: ResolvedStudy, place: tuple[str, ...], structures: Sequence[str]
) -> Iterator[Problem]:
    names = [s["structure"] for s in study.labelled()]
    for name in structures:
        if name not in names:
            text, remedy = f"'{name}' is no structure of the cohort", f"structures: {', '.join(dict.fromkeys(names))}"
            yield loaded.problem(place, text, remedy, name)


def _is_square_of_two(size: Sequence[int]) -> bool:
    return size[0] == size[1] and size[0] >= LEAST_SIDE and not size[0] & (size[0] - 1)


def _of_recipe(
    loaded: Places, recipes: Mapping[str, Mapping[str, Any]], keys: tuple[str, ...], name: str | None, is_mr: bool
) -> Iterator[Problem]:
    place = (*keys, "recipe")
    if name is None:
        yield loaded.problem(keys, "a generator needs a recipe of the kind `slices`", "add `recipe:`")
    elif name not in recipes:
        near = difflib.get_close_matches(name, list(recipes), n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"defined: {', '.join(recipes) or 'none'}"
        yield loaded.problem(place, "recipe is not defined", remedy, name)
    elif recipes[name]["kind"] != "slices":
        yield loaded.problem(place, "images are painted slice by slice", "name a recipe `kind: slices`", name)
    else:
        recipe = recipes[name]
        if recipe["size"] is None or recipe["spacing_mm"] is None:
            text = "its slices differ in size from scan to scan"
            yield loaded.problem(place, text, "give the recipe `size` and `spacing_mm`", name)
        if is_mr and recipe["mr_window"] != PERCENT:
            text = "images of MR are measured in percent of the percentiles 0.5 to 99.5 inside the body"
            yield loaded.problem(place, text, "leave out the recipe's `mr_window`", name)
        if not is_mr and recipe["ct_window"]["kind"] != "hu":
            text = "values of its slices mean other HU in other scans: no image in HU can be made of them"
            yield loaded.problem(place, text, "give the recipe `ct_window: {kind: hu, low: ..., high: ...}`", name)
