"""Models of translation as resolved: what their training reads, and what is wrong with them before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from volforge.tasks.protocol import (
    SHARED,
    Component,
    ModelOptions,
    PercentileWindow,
    Places,
    Problem,
    ResolvedStudy,
    Training,
    components,
)
from volforge.tasks.translation.options import (
    ADVERSARIAL,
    TranslationArm,
    TranslationModel,
    TranslationOptions,
    TranslationStudy,
)

UNREAD = ("kind", "structures", "loss", "region", "dilate_mm")
UNREAD_TRAINING = frozenset(
    ("patch", "patches", "foreground", "centred_on", "optimizer", "weight_decay", "validation_cases")
)
PERCENT = PercentileWindow(kind="percentile").model_dump()
OUTLINE = "outline"
GENERATORS, EXTRACTORS, DISCRIMINATORS = ("resnet_generator", "image_unet"), ("shape_unet",), ("patch_discriminator",)
FLAT = ("image_unet",)  # has no `features`
READ_INFERENCE = {"flips"}
OF_MR = ("constant", "other_subject")


def translation_of(options: ModelOptions) -> TranslationOptions:
    """How a model learns."""
    assert isinstance(options, TranslationModel)
    return options.translation or TranslationOptions()


def finds_outlines(options: ModelOptions) -> bool:
    """Whether a model is the shape extractor."""
    return isinstance(options, TranslationModel) and options.learns == OUTLINE


def study_of(study: ResolvedStudy) -> TranslationStudy:
    """Settings of a study of translation."""
    assert isinstance(study.settings, TranslationStudy)
    return study.settings


def translation_settings(study: ResolvedStudy, arm: str, model: str) -> dict[str, Any]:
    """Content of `<model>.train.json`; see `volforge.tasks.translation.settings`."""
    options = study.models_of(arm)[model]
    assert options.network is not None
    assert options.recipe is not None
    settings, extracts = study_of(study), finds_outlines(options)
    own = TranslationOptions() if extracts else translation_of(options)
    return {
        "kind": "shape_extractor" if extracts else "translation",
        "recipe": options.recipe,
        "recipe_settings": study.recipes[options.recipe],
        "source": settings.source.model_dump(),
        "target": settings.target.model_dump(),
        "also": list(own.also),
        "context": own.context,
        "network": options.network.spec,
        "translation": own.plain(),
        "training": study.training_of(arm, model).model_dump(),
        "needs": [] if extracts else list(options.needs or []),
    }


def problems(loaded: Places, study: ResolvedStudy, arm: str, model: str) -> Iterator[Problem]:
    """What is wrong with a model."""
    options, keys = study.models_of(arm)[model], study.model_keys(arm, model)
    own, extracts = translation_of(options), finds_outlines(options)
    if extracts and arm != SHARED:
        text = "the shape extractor serves all arms"
        yield loaded.problem((*keys, "learns"), text, "put it under the study's `shared`", OUTLINE)
    if not extracts and arm == SHARED:
        yield loaded.problem(
            keys, "a model under `shared` finds outlines", "add `learns: outline`, or move it to an arm"
        )
    key, fault = own.wrong()
    if fault and not extracts:
        yield loaded.problem((*keys, "translation", key), fault, "see docs/translation.md", str(getattr(own, key)))
    said_here = _said_at(study, arm, model)
    for key, why in [] if extracts else own.unread(said_here):
        yield loaded.problem((*keys, "translation", key), f"nothing reads it: {why}", "leave it out", key)
    if extracts and own.start:
        text = "the shape extractor begins with weights of its own"
        yield loaded.problem((*keys, "translation", "start"), text, "leave it out", own.start)
    if options.network is None:
        wanted = "shape_unet" if extracts else "resnet_generator"
        yield loaded.problem(keys, "a model needs a network", f"add `network: {wanted}`")
    yield from _of_networks(loaded, keys, options, own)
    for key in UNREAD:
        if getattr(options, key) is not None:
            yield loaded.problem((*keys, key), "has no meaning for translation", "leave it out", key)
    said = options.training.model_fields_set if options.training is not None else set()
    for key in sorted(said & UNREAD_TRAINING):
        yield loaded.problem((*keys, "training", key), "has no meaning for translation", "leave it out", key)
    if options.training is not None and set(options.training.flip) - {"x"}:
        text = "bodies are not flipped upside down, nor back to front"
        yield loaded.problem((*keys, "training", "flip"), text, "use `flip: [x]` or none", str(options.training.flip))
    yield from _of_recipe(loaded, study, keys, options.recipe)
    if not extracts:
        yield from _of_method(loaded, study, arm, model, own)


def _of_networks(
    loaded: Places, keys: tuple[str, ...], options: ModelOptions, own: TranslationOptions
) -> Iterator[Problem]:
    """Networks of ours that were made for something else; the user's own may be anything."""
    extracts = finds_outlines(options)
    found: list[tuple[tuple[str, ...], Component | None, tuple[str, ...]]] = [
        (("network",), options.network, EXTRACTORS if extracts else GENERATORS)
    ]
    if not extracts and own.has_discriminator:
        found.append((("translation", "discriminator"), own.discriminator, DISCRIMINATORS))
    for place, network, fitting in found:
        if network is not None and network.name in components.NAMES["network"] and network.name not in fitting:
            yield loaded.problem(
                (*keys, *place), "a network for something else", f"use {' or '.join(fitting)}", network.name
            )
    if own.method == "contrast" and not extracts and options.network is not None and options.network.name in FLAT:
        text = "patches are compared in the layers of a generator, and this one shows none"
        yield loaded.problem((*keys, "network"), text, "use resnet_generator", options.network.name)


def _said_at(study: ResolvedStudy, arm: str, model: str) -> set[str]:
    """Keys of `translation` that stand at a model itself, not in the defaults of its study."""
    settings = study.settings
    options = settings.shared[model] if arm == SHARED else settings.arms[arm].models[model]
    assert isinstance(options, TranslationModel)
    return set() if options.translation is None else set(options.translation.model_fields_set)


def _of_method(
    loaded: Places, study: ResolvedStudy, arm: str, model: str, own: TranslationOptions
) -> Iterator[Problem]:
    keys, settings, options = study.model_keys(arm, model), study_of(study), study.models_of(arm)[model]
    place = (*keys, "translation")
    if own.method == "painted" and (settings.source.modality != "MR" or settings.target.modality == "MR"):
        text = "MR is painted from CT: the source must be MR, the target CT or CBCT"
        yield loaded.problem((*place, "method"), text, "use another method", own.method)
    training = options.training or Training()
    if own.select != "latest" and training.which != "best":
        text = (
            f"weights that are chosen by `{own.select}` are the best ones, and `which: {training.which}` keeps others"
        )
        yield loaded.problem((*place, "select"), text, "set `training: {which: best}`, or leave it out", own.select)
    if own.select == "latest" and training.which == "best":
        for key in sorted(training.model_fields_set & {"which", "patience"}):
            if key == "which" or training.patience:
                text = "the last weights are taken, since nothing chooses: `translation: {select: latest}`"
                yield loaded.problem((*keys, "training", key), text, "leave it out, or say what selects", key)
    if own.select != "latest" and not training.validation:
        text = f"`{own.select}` chooses by validation subjects, and `training: {{validation: 0}}` holds none back"
        remedy = (
            "set it above 0 (scans of the split `val` are then taken, where the sheet has any), or leave `select` out"
        )
        yield loaded.problem((*place, "select"), text, remedy, own.select)
    if (own.bone or own.edges) and settings.target.modality == "MR":
        yield loaded.problem((*place, "bone"), "bone and edges are weighed in HU", "leave both out", f"{own.bone:g}")
    recipe = study.recipes.get(options.recipe or "", {})
    if own.method == "painted" and recipe.get("mr_window", PERCENT)["kind"] != "percentile":
        text = "MR is painted in the window of percentiles, and real MR would have another one"
        yield loaded.problem((*keys, "recipe"), text, "give the recipe `mr_window: {kind: percentile}`", options.recipe)
    if own.also and settings.source.contrast is None:
        text = "further contrasts stand beside one that the study's `source` names"
        yield loaded.problem((*place, "also"), text, "add `contrast` to the study's `source`", ", ".join(own.also))
    contrasts = {r.contrast for r in study.cohort.rows.values()}
    for name in own.also:
        if name not in contrasts:
            near = difflib.get_close_matches(name, sorted(c for c in contrasts if c), n=1)
            remedy = f"did you mean '{near[0]}'?" if near else "look at the sheet's column `contrast`"
            yield loaded.problem((*place, "also"), f"no scan of the cohort has the contrast '{name}'", remedy, name)
    needs = needs_of(study, arm, model)
    extractors = [w for w, o in needs.items() if finds_outlines(o)]
    wants = bool(own.shape or own.shape_adversarial) and own.method in ADVERSARIAL
    if wants != (len(extractors) == 1):
        text, remedy = (
            ("a loss of shape needs one shape extractor", "add `needs: [shared/<model>]` with `learns: outline`")
            if wants
            else ("no loss of it reads a shape extractor", "leave it out, or set `shape`")
        )
        yield loaded.problem((*keys, "needs"), text, remedy, ", ".join(extractors))
    others = [w for w in needs if w not in extractors]
    if own.start and own.start not in others:
        text = f"`start` names '{own.start}', which `needs` does not hold"
        yield loaded.problem((*place, "start"), text, f"needs: {', '.join(needs) or 'none'}", own.start)
    for word in others:
        if word != own.start:
            yield loaded.problem(
                (*keys, "needs"), "nothing reads this model", "leave it out, or name it as `start`", word
            )


def _of_recipe(loaded: Places, study: ResolvedStudy, keys: tuple[str, ...], name: str | None) -> Iterator[Problem]:
    recipes, place, target = study.recipes, (*keys, "recipe"), study_of(study).target.modality
    if name is None:
        yield loaded.problem(keys, "a model of translation needs a recipe of the kind `slices`", "add `recipe:`")
        return
    if name not in recipes:
        near = difflib.get_close_matches(name, list(recipes), n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"defined: {', '.join(recipes) or 'none'}"
        yield loaded.problem(place, "recipe is not defined", remedy, name)
        return
    recipe = recipes[name]
    if recipe["kind"] != "slices":
        yield loaded.problem(place, "images are translated slice by slice", "name a recipe `kind: slices`", name)
        return
    if recipe["size"] is None or recipe["spacing_mm"] is None:
        text = "its slices differ in size from scan to scan"
        yield loaded.problem(place, text, "give the recipe `size` and `spacing_mm`", name)
    if target == "MR" and recipe["mr_window"] != PERCENT:
        text = "images of MR are measured in percent of the percentiles 0.5 to 99.5 inside the body"
        yield loaded.problem(place, text, "leave out the recipe's `mr_window`", name)
    if target != "MR" and recipe["ct_window"]["kind"] != "hu":
        text = "values of its slices mean other HU in other scans: no image in HU can be made of them"
        yield loaded.problem(place, text, "give the recipe `ct_window: {kind: hu, low: ..., high: ...}`", name)
    if recipe["background"] != "body":
        text = "its background rule is another one than the body's"
        yield loaded.problem(place, text, "leave out the recipe's `background`", name)


def problems_of_views(loaded: Places, study: ResolvedStudy, arm: str) -> Iterator[Problem]:
    """What is wrong with the models of an arm together: each is a view of its own; and with its map of doubt."""
    axes: dict[str, str] = {}
    for name, options in study.models_of(arm).items():
        recipe = study.recipes.get(options.recipe or "")
        if recipe is None or recipe["kind"] != "slices":
            continue
        if recipe["axis"] in axes:
            text = f"models '{axes[recipe['axis']]}' and '{name}' see the same axis: {recipe['axis']}"
            remedy = "an arm has one model, or one for each view"
            yield loaded.problem(study.model_keys(arm, name), text, remedy, recipe["axis"])
        axes.setdefault(recipe["axis"], name)
    chosen = study.settings.arms[arm]
    assert isinstance(chosen, TranslationArm)
    also = {tuple(translation_of(o).also) for o in study.models_of(arm).values()}
    if len(also) > 1:
        text = "its views see other contrasts"
        yield loaded.problem(("studies", study.name, "arms", arm, "models"), text, "give all the same `also`", arm)
    where = ("studies", study.name, "arms", arm)
    for key in sorted(chosen.inference.model_fields_set - READ_INFERENCE):
        yield loaded.problem((*where, "inference", key), "has no meaning for translation", "leave it out", key)
    if chosen.doubt is not None and not chosen.models:
        yield loaded.problem((*where, "doubt"), "only models are in doubt", "leave it out", arm)
    elif chosen.doubt is not None:
        place = ("studies", study.name, "arms", arm, "doubt")
        if len(chosen.models) == 1 and not chosen.doubt.flips and not chosen.doubt.jitters:
            text = "a doubt without flips, jitters or several views would be 0 everywhere"
            yield loaded.problem(place, text, "set `flips: true`, or leave it out", "flips: false")
        if chosen.doubt.jitters and study_of(study).source.modality != "MR":
            text = "other contrasts of a scan in HU mean other tissues"
            yield loaded.problem(place, text, "set `jitters: 0`", str(chosen.doubt.jitters))


def needs_of(study: ResolvedStudy, arm: str, model: str) -> dict[str, ModelOptions]:
    """Options of the models of this study that a model needs, by the words of the configuration."""
    found: dict[str, ModelOptions] = {}
    for word in study.models_of(arm)[model].needs or []:
        *place, name = word.split("/")
        is_ours = len(place) < 2 or place[0] == study.name
        options = (
            study.models_of(place[-1] if place else arm).get(name) if is_ours and _has(study, place, arm) else None
        )
        found[word] = options if options is not None else TranslationModel()  # of another study: a generator
    return found


def _has(study: ResolvedStudy, place: list[str], arm: str) -> bool:
    named = place[-1] if place else arm
    return named == SHARED or named in study.settings.arms


def may_need(options: ModelOptions, needed: ModelOptions) -> str:
    """Why a model may not need another one; empty where it may."""
    if not isinstance(needed, TranslationModel):
        return "it is no model of translation"
    if finds_outlines(options):
        return "a shape extractor needs none"
    if finds_outlines(needed):
        own = translation_of(options)
        return "" if own.shape or own.shape_adversarial else "no loss of it reads a shape extractor"
    return "" if translation_of(options).start else "nothing of it starts from another model: add `start`"


def problems_of_scans(loaded: Places, study: ResolvedStudy) -> Iterator[Problem]:
    """What is wrong with the target's scans, and with baselines that know HU alone."""
    own = study_of(study)
    target, place = own.target, ("studies", study.name, "target")
    if own.shown_scan and own.shown_scan not in {r.scan for r in study.cohort.rows.values()}:
        near = difflib.get_close_matches(own.shown_scan, [r.scan for r in study.cohort.rows.values()], n=1)
        remedy = f"did you mean '{near[0]}'?" if near else "name a scan of the sheet that is tested"
        yield loaded.problem(
            ("studies", study.name, "shown_scan"), "no scan of the cohort is called so", remedy, own.shown_scan
        )
    if target.modality != "MR":
        odd = [r.scan for r in study.cohort.rows.values() if r.modality == target.modality and r.unit == "arbitrary"]
        if odd:
            text = f"targets are in HU, and the unit of {', '.join(odd[:4])} is arbitrary"
            yield loaded.problem(place, text, "set the sheet's `unit` column", target.modality)
        return
    for name, chosen in study.settings.arms.items():
        if chosen.baseline is not None and chosen.baseline not in OF_MR:
            text = "this baseline makes HU, and the target is MR"
            keys = ("studies", study.name, "arms", name, "baseline")
            yield loaded.problem(keys, text, f"use {' or '.join(OF_MR)}", chosen.baseline)


def learns_from(options: ModelOptions) -> tuple[str, ...]:
    """Domains whose training scans a model cannot do without: `source`, `target`."""
    own = translation_of(options)
    if finds_outlines(options) or (own.method == "painted" and not own.consistency):
        return ("target",)
    return ("source", "target")


def own_settings(study: ResolvedStudy, arm: str) -> dict[str, Any]:
    """Settings of an arm beside those of all tasks: how views are joined, and whether there is a map of doubt."""
    if arm == SHARED:
        return {}
    chosen = study.settings.arms[arm]
    assert isinstance(chosen, TranslationArm)
    if not chosen.models:
        return {}
    return {"fuse": chosen.fuse, "doubt": chosen.doubt.model_dump() if chosen.doubt is not None else None}


CHOSEN_BY = {
    "structure": "selected by inner structure with pairs of the validation subjects",
    "pairs": "selected by the error on pairs of the validation subjects",
    "painted": "selected by MR painted from CT of the validation subjects",
}


def note_of(study: ResolvedStudy, arm: str) -> str:
    """What the models of an arm saw of pairs, and what chose their weights, in words; empty where they saw none and the
    last weights were taken."""
    said: dict[str, None] = {}
    for name, options in study.models_of(arm).items():
        if not finds_outlines(options):
            said |= dict.fromkeys(_notes_of(study, arm, name, options))
    return "; ".join(said)


def _notes_of(study: ResolvedStudy, arm: str, name: str, options: ModelOptions) -> Iterator[str]:
    own = translation_of(options)
    is_paired = own.method == "paired"
    if is_paired or own.pairs:
        yield "learnt from registered pairs" + ("" if is_paired else f" of {own.pairs} subjects too")
    if own.select in CHOSEN_BY:
        yield f"{'' if is_paired or own.pairs else 'unpaired, '}{CHOSEN_BY[own.select]}"
    if own.targets is not None and (own.shape or own.shape_adversarial) and own.method in ADVERSARIAL:
        yield f"targets of {own.targets} subjects, but its shape extractor learnt from those of all"
    if own.start:
        needed, other, model = _start_of(study, arm, own.start)
        if needed is None:
            yield f"begun with {own.start} of another study"
        elif other != arm or model != name:
            yield from (f"begun with a model that was {words}" for words in _notes_of(study, other, model, needed))


def _start_of(study: ResolvedStudy, arm: str, word: str) -> tuple[ModelOptions | None, str, str]:
    """Options, arm and model that a word names; None where it names one of another study."""
    *place, model = word.split("/")
    other = place[-1] if place else arm
    is_ours = len(place) < 2 or place[0] == study.name
    return (study.models_of(other).get(model) if is_ours and _has(study, place, arm) else None), other, model


def budget_of_starts(study: ResolvedStudy, arm: str) -> int:
    """Samples of the trainings of this study that the models of an arm start from."""
    found = 0
    for options in study.models_of(arm).values():
        word = translation_of(options).start if not finds_outlines(options) else ""
        needed, other, name = _start_of(study, arm, word) if word else (None, "", "")
        if needed is not None:
            training = study.training_of(other, name)
            found += training.steps * training.batch * training.devices
    return found
