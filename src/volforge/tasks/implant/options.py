"""The part of the configuration that speaks of implants: what a model predicts, by which grid, of which defects."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from volforge.tasks.implant.metrics import MeasuredStudy
from volforge.tasks.protocol import Arm, Component, Model, ModelOptions, Name

Side = Annotated[int, Field(ge=4, le=1024)]
CAP, BOX = [128, 128, 64], [256, 256, 128]


class Adversary(Model):
    """A discriminator of whole implants, which does not see the skull."""

    network: Component = Field(default=Component(name="cranial_discriminator"), description="its name and keywords")
    weight: float = Field(
        default=0.1, gt=0, lt=1, description="share of its loss for the network; the rest is that of `loss`"
    )


class ImplantOptions(Model):
    """What a model of implants predicts, and how it sees a skull."""

    target: Literal["implant", "skull"] = Field(
        default="implant", description="`implant`: what is missing; `skull`: the whole bone, less the defective one"
    )
    sees: Literal["cap", "patches", "box", "windows"] = Field(
        default="cap",
        description="`cap`: the skull's cap on a grid of fixed size; `patches`: the cap at its own voxels, cut into "
        "patches in a fixed order; `box`: a box at its own voxels about the implant of the model that it needs; "
        "`windows`: sliding windows about that implant, with `channels`",
    )
    grid: list[Side] | None = Field(
        default=None,
        min_length=3,
        max_length=3,
        description="`cap` and `box`: voxels along R, A, S; empty: 128 x 128 x 64, and 256 x 256 x 128, as published",
    )
    cap_mm: float = Field(default=110.0, gt=10, le=400, description="height of the cap below the topmost bone")
    margin_mm: float = Field(default=10.0, ge=0, le=100, description="added about the bone of the cap")
    field: Literal["bone", "whole"] = Field(
        default="bone", description="extent to the sides: that of the cap's bone, or of the whole scan, as published"
    )
    spacing_mm: float | None = Field(
        default=None,
        gt=0.1,
        le=20,
        description="voxel size; empty: `cap` is stretched to its grid, all others see the scan's own voxels",
    )
    resample: Literal["area", "spline"] = Field(
        default="area",
        description="`cap`, down and up: means over voxels and linear probabilities; or quadratic splines of both "
        "volumes and of the binary answer, as published",
    )
    defects: Literal["sheet", "on_line", "both"] = Field(
        default="sheet",
        description="training: the sheet's own; drawn anew for each sample on complete skulls; or half of each",
    )
    threshold: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="bone lies above it; 0 is that of `value_boundary`, whose values are signed",
    )
    blend: Literal["hard", "gaussian"] = Field(
        default="hard", description="`patches`: pasted as they are; or overlapping, means with Gaussian weights"
    )
    margin_voxels: int = Field(default=20, ge=0, le=200, description="`box`: about the coarse implant")
    channels: list[Literal["coarse", "mirror", "kriged"]] = Field(
        default=["coarse", "mirror"],
        description="`windows`: what stands beside the defective skull: the coarse probability, the skull mirrored at "
        "its own plane of symmetry, the probability of the kriged skull",
    )
    near_mm: float = Field(
        default=12.0, ge=0, le=100, description="`windows`: how far from the coarse implant they look"
    )
    adversary: Adversary | None = Field(default=None, description="a discriminator that judges answers (`cap` only)")
    progress: bool = Field(
        default=False,
        description="keep a picture of the first validation skull at every validation, and a strip of them",
    )
    beta1: float = Field(default=0.9, ge=0, lt=1, description="first moment of Adam; 0.5 as published")

    @property
    def size(self) -> list[int]:
        """Voxels of the grid of a cap or of a box."""
        return list(self.grid or (BOX if self.sees == "box" else CAP))

    def plain(self) -> dict[str, object]:
        """As settings keep it: with `size`, and the discriminator as one mapping."""
        content: dict[str, object] = self.model_dump() | {"size": self.size}
        if self.adversary is not None:
            content["adversary"] = {"network": self.adversary.network.spec, "weight": self.adversary.weight}
        return content

    def wrong(self) -> tuple[str, str]:
        """Key and fault of values that do not fit together, empty where all do; asked once the defaults are in them."""
        if self.sees == "box" and self.defects != "sheet":
            return "defects", "a box lies about the coarse implant of a known defect: `sheet` only"
        if self.adversary is not None and self.sees != "cap":
            return "adversary", "a discriminator sees whole caps: `sees: cap` only"
        if len(set(self.channels)) != len(self.channels):
            return "channels", "a channel stands twice"
        if self.resample == "spline" and (self.sees != "cap" or self.defects != "sheet" or self.spacing_mm):
            return "resample", "splines are for stretched caps with the defects of the sheet"
        return "", ""


class Kriging(Model):
    """A model that is fitted, not trained: the two surfaces of complete skulls, their mean and their covariance."""

    symmetric: bool = Field(default=True, description="whether the covariance may hold a part that is left-right alike")
    evidence: bool = Field(
        default=False, description="whether each skull decides by its likelihood whether it is left-right alike"
    )
    offset_mm: float = Field(default=0.0, ge=0, le=20, description="standard deviation of an offset of each surface")
    passes: int = Field(
        default=3, ge=1, le=6, description="passes about the rim: after the first, bone that was predicted is believed"
    )
    ring_mm: float = Field(default=12.0, ge=0, le=40, description="how far from a hole the first pass believes nothing")
    lengths_mm: list[Annotated[float, Field(gt=0, le=500)]] = Field(
        default=[6.0, 12.0, 24.0, 48.0, 96.0], min_length=1, description="lengths of the kernels"
    )
    skulls: int | None = Field(default=None, ge=3, description="how many complete skulls are learnt from; empty: all")
    calibrated: bool = Field(
        default=True, description="whether variances are scaled by trial holes in the skulls that are learnt from"
    )
    closed: int = Field(
        default=16, ge=0, description="how many of those skulls are closed again, for limits of doubt and intervals"
    )
    pixel_mm: float = Field(default=1.5, ge=0.5, le=6, description="pixel of the maps of the surfaces")
    colatitude_deg: float = Field(default=115.0, gt=20, le=117, description="angle from the vertex where they end")
    spread_mm: float = Field(default=9.0, gt=0, le=50, description="and where skulls differ by more than this")

    def plain(self) -> dict[str, object]:
        """As settings keep it; see `volforge.tasks.implant.kriging.settings`."""
        return {
            "disc": {"pixel_mm": self.pixel_mm},
            "region": {"colatitude_deg": self.colatitude_deg, "spread_mm": self.spread_mm},
            "passes": {"ring_mm": self.ring_mm, "count": self.passes},
            **self.model_dump(
                include={"symmetric", "evidence", "offset_mm", "lengths_mm", "skulls", "calibrated", "closed"}
            ),
        }

    def wrong(self) -> tuple[str, str]:
        """Key and fault of values that do not fit together, empty where all do; asked once the defaults are in them."""
        if self.evidence and not self.symmetric:
            return "evidence", "it decides for or against `symmetric`, which is off"
        return "", ""


class ImplantModel(ModelOptions):
    """Settings of a model of implants; what is not said comes from the study's `defaults`."""

    whole: ClassVar[tuple[str, ...]] = (*ModelOptions.whole, "kriging")

    kriging: Kriging | None = Field(
        default=None, description="a fitted model instead of a network: `{}` for its defaults; it reads no other key"
    )

    implant: ImplantOptions | None = Field(default=None, description="what the model predicts, and how it sees a skull")


class ImplantArm(Arm):
    """One way to make implants; one column of the study's table."""

    models: dict[Name, ImplantModel] = Field(  # type: ignore[assignment]
        default={}, description="models that are trained, by name: one, or a coarse one and a fine one that needs it"
    )


class ImplantStudy(MeasuredStudy):
    """One table of implants."""

    defaults: ImplantModel = Field(
        default=ImplantModel(), description="settings of every model of the study that its own do not override"
    )
    shared: dict[Name, ImplantModel] = Field(  # type: ignore[assignment]
        default={}, description="models that serve all arms: a coarse one, say"
    )
    arms: dict[Name, ImplantArm] = Field(  # type: ignore[assignment]
        min_length=1, description="arms by name; ours is called `volforge`"
    )

    features: bool = Field(
        default=False, description="feature maps of the first test skull of every trained arm, in the report"
    )
    patch_scan: bool = Field(
        default=False, description="of arms that see `patches`: a picture that moves over the first test skull"
    )

    @model_validator(mode="after")
    def _has_one_answer(self) -> ImplantStudy:
        for name, arm in self.arms.items():
            asked = {n for m in arm.models.values() for n in m.needs or []}
            if arm.models and len(set(arm.models) - asked) != 1:
                raise ValueError(f"arm '{name}': one of its models gives the implant, the others are needed by it")
        return self
