"""The part of the configuration that speaks of models: networks, losses, regions, training, inference."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from volforge.config.component import Component, StructureName, StructureNames
from volforge.config.model import Model, Name

Side = Annotated[int, Field(ge=4, le=1024)]


class Region(Model):
    """A box of fixed size about every joint: one pass per side, the sides mirrored onto each other."""

    around: StructureName = Field(description="structure or group with sides whose centroid is the box's centre")
    size: list[Side] = Field(min_length=3, max_length=3, description="voxels of the recipe along R, A, S")
    offset_mm: list[float] = Field(
        default=[0.0, 0.0, 0.0],
        min_length=3,
        max_length=3,
        description="from that centroid to the box's centre along R, A, S on the left side; mirrored on the right",
    )
    jitter_mm: float = Field(default=3.0, ge=0, description="training: the centre is moved by up to this on each axis")
    mirror: bool = Field(default=True, description="show right sides as left ones, so that one model sees one side")


class Training(Model):
    """How a model is trained. Its length is counted in steps; time, memory and workers are resources."""

    steps: int = Field(default=1000, ge=1, description="optimiser steps")
    batch: int = Field(default=2, ge=1, description="samples per step and device")
    patch: list[Side] | None = Field(
        default=None, min_length=3, max_length=3, description="voxels along R, A, S; empty: the whole region"
    )
    patches: Literal["random", "grid"] = Field(
        default="random", description="`grid`: starts at 0 and at the far end of each axis only, as published"
    )
    foreground: float = Field(
        default=0.33, ge=0, le=1, description="share of random patches that are centred on a voxel of a structure"
    )
    centred_on: StructureNames = Field(
        default=[], description="which structures those are, of what the model learns; empty: all, in turn"
    )
    optimizer: Literal["adam", "adamw", "sgd"] = Field(default="adamw", description="`sgd` has Nesterov momentum 0.99")
    rate: float = Field(default=1e-3, gt=0, description="learning rate")
    weight_decay: float = Field(default=1e-4, ge=0, description="L2 with `adam` and `sgd`, decoupled with `adamw`")
    schedule: Literal["constant", "cosine", "poly", "step", "late_linear", "late_epochs"] = Field(
        default="cosine",
        description="`poly`: (1 - t)^0.9; `step`: a tenth after every `step_every` steps; `late_linear`: constant to "
        "the half, then in a straight line to 0; `late_epochs`: the same in 200 equal parts, as published CycleGANs "
        "had it",
    )
    step_every: int = Field(default=2400, ge=1, description="`step`: steps between two falls of the rate")
    warmup: int = Field(default=0, ge=0, description="steps of linear rise")
    clip: float = Field(default=12.0, ge=0, description="largest norm of the gradient; 0: no limit")
    ema: float = Field(default=0.0, ge=0, lt=1, description="decay of the mean weights that are kept; 0: none")
    augmentation: Literal["none", "published", "light", "standard"] = Field(
        default="standard",
        description="`published`: flip, rotation, mild elastic, contrast; `light`: for short trainings; see "
        "docs/training.md",
    )
    flip: list[Literal["x", "y", "z"]] = Field(
        default=[], description="`light` and `standard`: axes that are flipped at random"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        default="32-true", description="arithmetic; losses are always 32 bit"
    )
    channels_last: bool = Field(default=True, description="memory layout of networks and batches")
    compile: bool = Field(default=False, description="torch.compile; pays on long trainings only")
    threads: int = Field(default=1, ge=1, le=64, description="compute threads on CPU; results depend on them")
    accelerator: Literal["cpu", "gpu"] = Field(default="cpu", description="where it runs; `gpu` asks for a GPU job")
    devices: int = Field(default=1, ge=1, le=64, description="GPUs (or CPU processes) that share the batch by DDP")
    validation: float = Field(
        default=0.1, ge=0, lt=1, description="share of the training subjects that choose the weights; 0: the last win"
    )
    validation_cases: int = Field(default=16, ge=1, description="regions that are looked at, at most")
    validate_every: int = Field(default=250, ge=1, description="steps between two validations")
    patience: int = Field(default=0, ge=0, description="validations without gain that end it; 0: never")
    tolerance: float = Field(
        default=0.0, ge=0, description="what a validation score must gain to be better, in the score's own unit"
    )

    which: Literal["best", "latest"] | Annotated[int, Field(ge=1)] = Field(
        default="best",
        description="weights that are kept: `best` by validation, `latest`, or those of a step that is validated",
    )

    def wrong(self) -> tuple[str, str]:
        """Key and fault of values that do not fit together, empty where all do; asked once the defaults are in them."""
        if self.which != "best" and self.patience:
            text = "`patience` ends a training by its best weights: leave it out, or keep `which: best`"
            return "patience", text
        if isinstance(self.which, int) and (self.which > self.steps or self.which % self.validate_every):
            text = (
                f"step {self.which} is none that is validated: a multiple of {self.validate_every} up to {self.steps}"
            )
            return "which", text
        return "", ""


class ModelOptions(Model):
    """Settings of one model; what is not said comes from the study's `defaults`."""

    whole: ClassVar[tuple[str, ...]] = ("network", "loss", "region")
    """Groups of keys that are taken whole: they are not joined with those of `defaults`."""

    kind: Literal["structures", "localiser"] | None = Field(
        default=None, description="`structures`: a label map; `localiser`: where the joints are, on a coarse recipe"
    )
    network: Component | None = Field(default=None, description="name, or name and keywords")
    loss: Component | None = Field(default=None, description="name, or name and keywords")
    structures: StructureNames | None = Field(
        default=None, min_length=1, description="what it learns; empty: all structures of the study"
    )
    recipe: Name | None = Field(default=None, description="recipe of the kind `region` that it sees scans through")
    region: Region | None = Field(default=None, description="boxes about the joints instead of the whole region")
    needs: list[str] | None = Field(
        default=None,
        description="models that it needs: `<model>` of its own arm, `shared/<model>` (the localiser that finds the "
        "joints), or `<study>/<arm>/<model>` of a study of the same cohort, folds and seeds",
    )
    dilate_mm: float | None = Field(default=None, ge=0, le=50, description="localiser: its target is grown by this")
    training: Training | None = Field(default=None, description="how it is trained")


class Inference(Model):
    """How an arm's models are applied to a scan."""

    window: list[Side] | None = Field(
        default=None,
        min_length=3,
        max_length=3,
        description="voxels that the network sees at a time; empty: its training patch. Larger is faster, and for "
        "networks with norms over a window not quite the same",
    )
    overlap: float = Field(default=0.5, ge=0, lt=1, description="overlap of sliding windows")
    flips: list[Literal["x", "y", "z"]] = Field(default=[], description="axes whose flips are averaged")
    samples: int = Field(default=1, ge=1, le=100, description="semantic synthesis: images of each label map")
    truncation: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="semantic synthesis: latents are shortened by this factor: fewer odd images, less variety",
    )
    vary: StructureNames = Field(
        default=[],
        description="semantic synthesis: only these structures take another latent in each sample; empty: the whole "
        "volume",
    )
    between: bool = Field(
        default=False, description="semantic synthesis: the samples are steps on the way between two latents"
    )
    keep: dict[StructureName, float] = Field(
        default={},
        description="share of the largest component's volume that a component needs to stay; 1: the largest alone, "
        "0: all; 1 where a structure is not named",
    )

    @field_validator("keep")
    @classmethod
    def _are_shares(cls, value: dict[str, float]) -> dict[str, float]:
        if any(not 0 <= v <= 1 for v in value.values()):
            raise ValueError("shares lie between 0 and 1")
        return value

    @model_validator(mode="after")
    def _has_samples_to_compare(self) -> Inference:
        if self.samples < 2 and (self.vary or self.between):
            raise ValueError(f"`{'vary' if self.vary else 'between'}` needs `samples: 2` or more")
        return self


def resolve(options: ModelOptions, defaults: ModelOptions) -> ModelOptions:
    """A model's settings over the study's defaults; groups of keys (training, those of a task) key by key."""
    said = {k: getattr(options, k) for k in options.model_fields_set}  # `region: null` says: none
    known = type(options).model_fields
    merged = {k: getattr(defaults, k) for k in defaults.model_fields_set if k in known}
    for key in said.keys() & merged.keys():
        own, base = said[key], merged[key]
        if isinstance(own, Model) and type(own) is type(base) and key not in options.whole:
            keys = {k: getattr(part, k) for part in (base, own) for k in part.model_fields_set}
            said[key] = type(own)(**keys)
    return type(options)(**{**merged, **said})
