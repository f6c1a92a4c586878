"""The part of the configuration that speaks of generators: how one is taught to paint label maps."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from volforge.tasks.protocol import Arm, Component, ImageStudy, Model, ModelOptions, Name, StructureNames

Weight = Annotated[float, Field(ge=0)]


class Rates(Model):
    """Learning rates of Adam with betas 0 and 0.999, constant."""

    generator: float = Field(default=4e-4, gt=0, description="of the generator")
    segmenter: float = Field(default=4e-4, gt=0, description="of the segmenter")
    discriminator: float = Field(default=2e-3, gt=0, description="of the discriminator of whole images")


class Synthesis(Model):
    """How a generator is taught: what sees its images, and what each of them counts."""

    mode: Literal["unpaired", "paired", "semi"] = Field(
        default="unpaired",
        description="`unpaired`: label maps and images of different subjects; `paired`: of the same scans; `semi`: "
        "unpaired, and some pairs",
    )
    pairs: int = Field(default=0, ge=0, description="`semi`: subjects whose image and label map are shown together")
    segmenter: Component = Field(
        default=Component(name="oasis_segmenter"), description="reads the labels of images back; its name and keywords"
    )
    discriminator: Component | None = Field(
        default=Component(name="wavelet_discriminator"),
        description="tells whole images from real ones; null: none (`paired` only)",
    )
    segment: Weight = Field(default=1.0, description="weight of the segmenter's loss for the generator")
    adversarial: Weight = Field(default=1.0, description="weight of the discriminator's loss for the generator")
    outline: Weight = Field(default=0.5, description="weight of the loss that ties the body to the map; 0: without")
    label_mix: Weight = Field(default=5.0, description="`paired`: weight of LabelMix")
    match: Weight = Field(default=10.0, description="`semi`: weight of the distance of features of a pair")
    moments: Weight = Field(
        default=0.0,
        description="`paired`: weight of the distance of each structure's mean and spread from the real slice's; 0: "
        "without, as published",
    )
    variety: Weight = Field(
        default=0.0,
        description="weight of what two samples of one map share of the spread inside its structures; 0: without, as "
        "published",
    )
    penalty: Weight = Field(default=10.0, description="gradient penalty R1 of the discriminator")
    penalty_every: int = Field(default=4, ge=1, description="steps between two penalties")
    ignore_background: bool = Field(default=False, description="the background is no class of its own, as published")
    edge_hu: float = Field(default=-500.0, description="value of the body's outline")
    dark: StructureNames = Field(default=[], description="structures as dark as air, which no outline follows")
    rates: Rates = Field(default=Rates(), description="learning rates")

    def wrong(self) -> tuple[str, str]:
        """Key and fault of values that do not fit together, empty where all do; asked once the defaults are in them."""
        if self.discriminator is None and self.mode != "paired":
            return "discriminator", f"the mode {self.mode} needs a discriminator: nothing else sees real images"
        if (self.mode == "semi") != bool(self.pairs):
            return "pairs", "`pairs` belongs to the mode `semi`, and that mode needs some"
        if self.moments and self.mode != "paired":
            return "moments", "`moments` compares a painted slice with its real one: only with the mode `paired`"
        return "", ""

    def unread(self, said: Collection[str]) -> Iterator[tuple[str, str]]:
        """Keys that were said and that nothing reads, each with the reason; asked once the defaults are in the values.

        Args:
            said: Keys that stand at the generator itself: what its study's defaults say may be meant for others.
        """
        for key, mode in (("label_mix", "paired"), ("match", "semi")):
            if key in said and getattr(self, key) and self.mode != mode:
                yield key, f"the mode `{self.mode}` does not read it: it belongs to `{mode}`"
        for key in ("adversarial", "penalty", "penalty_every"):
            if key in said and self.discriminator is None:
                yield key, "there is no `discriminator`"
        for key in ("dark", "edge_hu"):
            if key in said and not self.outline:
                yield key, "there is no loss of the `outline`"

    def plain(self) -> dict[str, object]:
        """As settings keep it: networks as one mapping each."""
        content = self.model_dump()
        content["segmenter"] = self.segmenter.spec
        content["discriminator"] = self.discriminator.spec if self.discriminator is not None else None
        return content


class GeneratorOptions(ModelOptions):
    """Settings of a generator; what is not said comes from the study's `defaults`."""

    synthesis: Synthesis | None = Field(default=None, description="how the generator `network` is taught")


class SynthesisArm(Arm):
    """One way to paint label maps; one column of the study's table."""

    models: dict[Name, GeneratorOptions] = Field(  # type: ignore[assignment]
        default={}, description="the generator that is trained, by its name"
    )


class SynthesisStudy(ImageStudy):
    """One table of semantic synthesis."""

    defaults: GeneratorOptions = Field(
        default=GeneratorOptions(), description="settings of every generator of the study that its own do not override"
    )
    shared: dict[Name, GeneratorOptions] = Field(  # type: ignore[assignment]
        default={}, description="not used: generators serve one arm"
    )
    arms: dict[Name, SynthesisArm] = Field(  # type: ignore[assignment]
        min_length=1, description="arms by name; ours is called `volforge`"
    )

    @model_validator(mode="after")
    def _can_be_painted(self) -> SynthesisStudy:
        if self.shared:
            raise ValueError("a generator serves its own arm: leave out `shared`")
        if any(len(a.models) > 1 for a in self.arms.values()):
            raise ValueError("an arm of semantic synthesis has one model, its generator")
        said = self.metrics.model_fields_set & {"range_hu", "window_hu"}
        if self.target.modality == "MR" and said:
            raise ValueError(
                f"values of MR are percent of each scan's own window: leave out {' and '.join(sorted(said))}"
            )
        return self
