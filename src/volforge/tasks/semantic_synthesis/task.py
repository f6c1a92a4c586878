"""Semantic synthesis: images painted from label maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from volforge.tasks.images import ImageTask, image_study
from volforge.tasks.protocol import SEGMENTER, Arm, Keys, Places, Problem, ResolvedStudy, fitting
from volforge.tasks.semantic_synthesis import checks
from volforge.tasks.semantic_synthesis.baselines import BASELINES, LEARNS
from volforge.tasks.semantic_synthesis.options import SynthesisStudy

if TYPE_CHECKING:
    from volforge.cohort.sheet import SheetRow


class SemanticSynthesis(ImageTask):
    """Generators that paint label maps, taught with pairs, without, or with some."""

    study = SynthesisStudy
    train = "volforge.tasks.semantic_synthesis.train:train"
    begins_with_weights = True
    predict = "volforge.tasks.semantic_synthesis.predict:predict"
    measure = "volforge.tasks.semantic_synthesis.measure:measure"
    reads = ("labels", "image")
    baselines = BASELINES
    learns = LEARNS
    by_hand = {
        "start": "volforge.tasks.semantic_synthesis.starter:start",
        "predict_synthesis": "volforge.tasks.semantic_synthesis.by_hand:predict_synthesis",
        "published": "volforge.tasks.semantic_synthesis.published_weights:import_published",
    }
    published = {
        "ct": "OASIS or wavelet generator that paints CT from MOOSE's structures (AutoPET)",
        "mr": "the same that paints MR (SynthRAD2023)",
    }
    first = (
        ("", "segmenter_dice_ratio"),
        ("", "outline_dice"),
        ("", "texture_sd_ratio"),
        ("body", "mae_hu"),
        ("body", "mae"),
        ("", "diversity_ms_ssim"),
    )
    shown = (
        "segmenter_dice_ratio",
        "outline_dice",
        "texture_sd_ratio",
        "diversity_ms_ssim",
        "mae_hu",
        "mae",
        "ssim",
        "psnr_db",
    )

    def measurable(self, study: ResolvedStudy, rows: Sequence[SheetRow], has: Callable[[SheetRow, str], bool]) -> bool:
        """Label map and image of one scan of the target."""
        return super().measurable(study, fitting(rows, image_study(study.settings).target), has)

    def problems_of_model(self, loaded: Places, study: ResolvedStudy, arm: str, model: str) -> Iterator[Problem]:
        """A network, a recipe of the kind `slices`, structures that there are, and no keys of other tasks."""
        keys = study.model_keys(arm, model)
        yield from checks.problems(loaded, study, keys, study.models_of(arm)[model])
        yield from checks.problems_of_samples(loaded, study, keys[:4])

    def components(self, study: ResolvedStudy, arm: str, model: str) -> list[tuple[str, Keys, dict[str, Any]]]:
        """The generator, and what sees its images."""
        options = study.models_of(arm)[model]
        own = checks.synthesis_of(options)
        every = (
            (("network",), options.network),
            (("synthesis", "segmenter"), own.segmenter),
            (("synthesis", "discriminator"), own.discriminator),
        )
        return [("network", place, c.spec) for place, c in every if c is not None]

    def model_settings(self, study: ResolvedStudy, arm: str, model: str) -> dict[str, Any]:
        """Content of `<model>.train.json`; see `volforge.tasks.semantic_synthesis.settings`."""
        return checks.generator_settings(study, arm, model)

    def metrics(self, study: ResolvedStudy) -> dict[str, Any]:
        """Arms that differ by the mask loss alone, and recipes by the published background rule, have pictures."""
        more = {"mask_pairs": checks.mask_pairs(study), "legacy_recipes": checks.legacy_recipes(study)}
        return super().metrics(study) | {k: v for k, v in more.items() if v}

    def kind(self, arm: Arm) -> str:
        """The real images are a ceiling."""
        return "ceiling" if arm.baseline == "real" else super().kind(arm)

    def judges(self, study: ResolvedStudy) -> tuple[str, ...]:
        """The segmenter of real images too, which reads the synthetic ones."""
        return (*super().judges(study), *([SEGMENTER] if study.settings.metrics.segmenter_steps else []))
