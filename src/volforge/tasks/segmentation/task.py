"""Segmentation: label maps of scans, by networks that learn them, or by a localiser and boxes about joints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from volforge.tasks.protocol import SHARED, ModelOptions, Places, Problem, ResolvedStudy, Task, components
from volforge.tasks.segmentation import checks
from volforge.tasks.segmentation.baselines import BASELINES, LEARNS

DEFAULT_LOSS = {"name": "dice_ce"}
DILATE_MM = 5.0


class Segmentation(Task):
    """Deep negative volume segmentation, its first half; any cohort with labels."""

    train = "volforge.tasks.segmentation.train:train"
    begins_with_weights = True
    predict = "volforge.tasks.segmentation.predict:predict"
    measure = "volforge.tasks.segmentation.measure:measure"
    baselines = BASELINES
    learns = LEARNS
    first = (("", "dice"), ("", "nsd_1mm"), ("", "hd95_mm"))
    shown = ("dice", "hd95_mm", "assd_mm", "nsd_1mm")
    by_hand = {
        "start": "volforge.tasks.segmentation.starter:start",
        "published": "volforge.tasks.segmentation.published_weights:import_published",
    }
    published = {
        "localiser": "V-Net that finds the joints",
        "condyle": "U-Net, U-Net with attention gates, or V-Net of the mandibular condyle",
        "temporal_bone": "the same of the temporal bone",
        "negative_volume": "U-Net or V-Net of negative volumes",
    }
    trains_with_needs = False  # labels tell where the joints are; the localiser finds them in new scans

    def problems(self, loaded: Places, study: ResolvedStudy) -> Iterator[Problem]:
        """One localiser for all models of an arm."""
        yield from super().problems(loaded, study)
        for arm in study.settings.arms:
            known = [f"{SHARED}/{m}" for m in study.models_of(SHARED)]
            finders = dict.fromkeys(n for m in study.models_of(arm).values() for n in m.needs or [] if n in known)
            if len(finders) > 1:
                text = f"its models need several localisers: {', '.join(finders)}"
                yield loaded.problem(
                    ("studies", study.name, "arms", arm), text, "joints are found once for an arm: name one"
                )

    def problems_of_model(self, loaded: Places, study: ResolvedStudy, arm: str, model: str) -> Iterator[Problem]:
        """A network and a recipe of the kind `region`, structures with the sides that they need, a localiser."""
        options, keys = study.models_of(arm)[model], study.model_keys(arm, model)
        yield from checks.of_data(loaded, study, keys, options)
        yield from checks.of_localiser(loaded, study, keys, options, arm, loss_of(options))
        yield from checks.of_sides(loaded, study, keys, options, arm)
        yield from checks.unread(loaded, study, keys, options, arm)

    def components(self, study: ResolvedStudy, arm: str, model: str) -> list[tuple[str, Any, dict[str, Any]]]:
        """The network, and the loss that it has where none is named."""
        options = study.models_of(arm)[model]
        network = [("network", ("network",), options.network.spec)] if options.network else []
        return [*network, ("loss", ("loss",), loss_of(options))]

    def model_settings(self, study: ResolvedStudy, arm: str, model: str) -> dict[str, Any]:
        """Content of `<model>.train.json`; see `volforge.inference.model_settings`."""
        options = study.models_of(arm)[model]
        assert options.network is not None
        assert options.recipe is not None
        kind = options.kind or "structures"
        wanted = options.structures or list(dict.fromkeys(s["structure"] for s in study.structures()))
        sided = study.by_side()
        region = None
        if options.region is not None and kind == "structures":
            region = {**options.region.model_dump(), "ids": sided[options.region.around]}
        if region is not None or kind == "localiser":
            classes = [{"structure": w, "side": "", "ids": sided[w]} for w in wanted]
        else:
            named = [s for s in study.learnable() if s["structure"] in wanted]
            classes = [{"structure": s["structure"], "side": s["side"], "ids": {"": s["id"]}} for s in named]
        return {
            "kind": kind,
            "classes": classes,
            "recipe": options.recipe,
            "recipe_settings": study.recipes[options.recipe],
            "region": region,
            "dilate_mm": options.dilate_mm if options.dilate_mm is not None else DILATE_MM,
            "network": options.network.spec,
            "loss": loss_of(options),
            "training": study.training_of(arm, model).model_dump(),
        }

    def needs_distances(self, study: ResolvedStudy, arm: str, model: str) -> bool:
        """Where its loss reads them."""
        return components.needs_distance(loss_of(study.models_of(arm)[model]))

    def may_need(self, study: ResolvedStudy, arm: str, model: str, needed: ModelOptions) -> str:
        """A localiser of the study."""
        if study.models_of(arm)[model].kind == "localiser":
            return "a localiser looks at the whole scan"
        return "" if needed.kind == "localiser" else "it is no localiser"


def loss_of(options: ModelOptions) -> dict[str, Any]:
    """Name and keywords of a model's loss."""
    return options.loss.spec if options.loss else dict(DEFAULT_LOSS)
