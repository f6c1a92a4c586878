"""Generators as resolved: what their training reads, and what is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from volforge import components
from volforge.config.models import PercentileWindow
from volforge.config.training import ModelOptions, Training
from volforge.errors import Problem
from volforge.tasks.semantic_synthesis.options import Synthesis
from volforge.workflow.code_hash import hash_of_modules

if TYPE_CHECKING:
    from volforge.workflow.load import Loaded
    from volforge.workflow.studies import ResolvedStudy

TASK = "semantic_synthesis"
KIND = "synthesis"
UNREAD = frozenset(
    ("patch", "patches", "foreground", "centred_on", "optimizer", "rate", "weight_decay", "schedule", "step_every",
     "warmup", "clip", "validation_cases")
)  # fmt: skip
PERCENT = PercentileWindow(kind="percentile").model_dump()
LEAST_SIDE = 16  # of the wavelet discriminator
SIDES = {"left": "right", "right": "left"}


def generator_settings(study: ResolvedStudy, arm: str, model: str, options: ModelOptions) -> dict[str, Any]:
    """`<model>.train.json` of a generator."""
    assert options.network is not None
    assert options.recipe is not None
    own = (options.synthesis or Synthesis()).plain()
    networks = [options.network.spec, own["segmenter"], own["discriminator"]]
    used = [n for n in networks if isinstance(n, dict)]
    modules = [components.module_of("network", n) for n in used]
    files = [components.file_hash("network", n) for n in used]
    return {
        "study": study.name,
        "arm": arm,
        "model": model,
        "cohort": study.cohort.name,
        "by_fold": bool(study.settings.folds),
        "kind": KIND,
        "classes": _classes(study),
        "recipe": options.recipe,
        "recipe_settings": study.recipes[options.recipe],
        "source": study.settings.source.model_dump(),
        "target": study.settings.target.model_dump(),
        "network": options.network.spec,
        "synthesis": own,
        "training": (options.training or Training()).model_dump(),
        "own": "-".join(filter(None, [hash_of_modules(m for m in modules if m), *files])),
    }


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


def problems(loaded: Loaded, study: ResolvedStudy, keys: tuple[str, ...], options: ModelOptions) -> Iterator[Problem]:
    """What is wrong with a generator."""
    own = options.synthesis or Synthesis()
    if options.network is None:
        yield loaded.problem(keys, "a model needs a network", "add `network: oasis_generator` or `wavelet_generator`")
    places = (((*keys, "network"), options.network), ((*keys, "synthesis", "segmenter"), own.segmenter),
              ((*keys, "synthesis", "discriminator"), own.discriminator))  # fmt: skip
    for place, component in places:
        if component is None:
            continue
        near = place if place in loaded.places else keys
        for message, remedy in components.check("network", component.spec):
            yield loaded.problem(near, message, remedy, component.name)
    for key in ("loss", "region", "needs", "dilate_mm", "structures"):
        if getattr(options, key) is not None:
            yield loaded.problem((*keys, key), "has no meaning for a generator", "leave it out", key)
    said = options.training.model_fields_set if options.training is not None else set()
    for key in sorted(said & UNREAD):
        remedy = "rates and weights of a generator stand in `synthesis`" if key == "rate" else "leave it out"
        yield loaded.problem((*keys, "training", key), "has no meaning for a generator", remedy, key)
    yield from _unknown(loaded, study, (*keys, "synthesis", "dark"), own.dark)
    yield from _of_recipe(loaded, study.recipes, keys, options.recipe, study.settings.target.modality == "MR")
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


def problems_of_samples(loaded: Loaded, study: ResolvedStudy, keys: tuple[str, ...]) -> Iterator[Problem]:
    """What is wrong with the samples that an arm asks for; `keys` lead to the arm."""
    place = (*keys, "inference", "vary")
    yield from _unknown(loaded, study, place, study.settings.arms[keys[3]].inference.vary)


def _unknown(
    loaded: Loaded, study: ResolvedStudy, place: tuple[str, ...], structures: Sequence[str]
) -> Iterator[Problem]:
    names = [s["structure"] for s in study.labelled()]
    for name in structures:
        if name not in names:
            text, remedy = f"'{name}' is no structure of the cohort", f"structures: {', '.join(dict.fromkeys(names))}"
            yield loaded.problem(place, text, remedy, name)


def _is_square_of_two(size: Sequence[int]) -> bool:
    return size[0] == size[1] and size[0] >= LEAST_SIDE and not size[0] & (size[0] - 1)


def _of_recipe(
    loaded: Loaded, recipes: Mapping[str, Mapping[str, Any]], keys: tuple[str, ...], name: str | None, is_mr: bool
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
