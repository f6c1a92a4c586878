"""The part of the configuration that speaks of negative volumes: which bones, and how they are inflated."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from volforge.tasks.protocol import Arm, Model, Name, StructureName, StructureNames, Study

Millimetres = Annotated[float, Field(gt=0, le=100)]


class Derive(Model):
    """Condyle and barrier from a label map that knows mandible and skull alone."""

    mandible: StructureName = Field(description="structure, or group with a left and a right one")
    skull: StructureName = Field(description="structure that holds the fossae")


class Repeatability(Model):
    """How much the numbers move when the same joint is scanned again: on a shifted grid, with noise, with other HU."""

    shifts: int = Field(default=0, ge=0, le=50, description="shifts by parts of a voxel; 0: not measured")
    noises: int = Field(
        default=0, ge=0, le=50, description="times that noise is added to the CT and the bones' edges are found again"
    )
    noise_hu: float = Field(default=30.0, gt=0, le=500, description="standard deviation of that noise, HU")
    offset_hu: float = Field(
        default=0.0, ge=0, le=500, description="edges found again in a CT that reads so much less and more, HU; 0: not"
    )
    seed: int = Field(default=0, ge=0, description="of the shifts and of the noise")
    widths: bool = Field(default=False, description="widths too, about a second a joint and repeat")


class JointOptions(Model):
    """Negative volumes: which bones of a side make a joint, and how it is measured."""

    condyle: StructureName = Field(default="condyle", description="group with a left and a right bone: it is inflated")
    barrier: StructureName = Field(default="temporal_bone", description="group that confines it")
    others: StructureNames = Field(
        default=[], description="groups that stop rays too, but bound no joint space (the rest of the mandible)"
    )
    derive: Derive | None = Field(
        default=None, description="make condyle and barrier of a mandible and a skull; label source `derived`"
    )
    r_max_mm: Millimetres = Field(default=14.0, description="longest way of the inflation")
    joint_space_mm: Millimetres | None = Field(
        default=None,
        description="how far from the condyle the barrier bounds the joint space; empty: `r_max_mm`, which also counts "
        "bone far behind the neck that some normals just graze",
    )
    cube_mm: Millimetres = Field(default=30.0, description="edge of the clip cube about the condylar head")
    step_mm: float | None = Field(
        default=None,
        ge=0.1,
        le=2,
        description="edge of working voxels; empty: the scan's finest, between 0.3 and 0.5 mm",
    )
    sensitivity_mm: list[Millimetres] = Field(default=[], description="further longest ways, measured beside")
    width: Literal["labels", "image"] = Field(
        default="labels", description="width of the joint space from the label map, or from the CT across the gap"
    )
    ball_mm: Millimetres = Field(default=15.0, description="radius of the synthetic ball that an annotator would lay")
    accelerator: Literal["cpu", "gpu"] = Field(
        default="cpu",
        description="where rays walk; `gpu` asks for a GPU job, worth it for many longest ways and repeats",
    )
    repeatability: Repeatability = Field(
        default=Repeatability(), description="the same joint scanned again, for arms of the method `ray`"
    )

    @model_validator(mode="after")
    def _widths_repeat_on_labels(self) -> JointOptions:
        if self.width == "image" and self.repeatability.shifts and self.repeatability.widths:
            raise ValueError("a shifted grid has no image: `repeatability` measures widths with `width: labels` alone")
        return self


class Inflation(Model):
    """How an arm makes negative volumes of its labels."""

    labels_from: str = Field(
        description="`labels`: the scan's own label map; `<study>/<arm>`: held-out predictions of another study, "
        "of the same fold and seed"
    )
    method: Literal["ray", "mesh", "geodesic", "euclid", "ball", "direct"] = Field(
        default="ray",
        description="`ray`: along normals until bone; `mesh`: the same by moving the mesh; `geodesic`: round rims; "
        "`euclid`: through bone; `ball`: a sphere less the bones, as drawn by hand; `direct`: a structure of the "
        "labels",
    )
    structure: StructureName | None = Field(default=None, description="`direct`: group that is the negative volume")
    enhance: bool = Field(
        default=False, description="predictions: edges of the image where the barrier is suspected are added to it"
    )
    widths: bool = Field(default=True, description="widths too, about a second a joint")
    meshes: bool = Field(default=True, description="STL and PLY of bones and negative volume")

    @model_validator(mode="after")
    def _direct_names_a_structure(self) -> Inflation:
        if (self.method == "direct") != (self.structure is not None):
            raise ValueError("`structure` belongs to the method `direct`, and that method needs it")
        if self.enhance and self.labels_from == "labels":
            raise ValueError("`enhance` is for predictions: it asks where the network suspects bone")
        return self


class NegativeVolumeArm(Arm):
    """One way to make negative volumes; one column of the study's table."""

    origins: ClassVar[tuple[str, ...]] = ("models", "baseline", "predictions", "inflation")

    inflation: Inflation | None = Field(default=None, description="whose labels are inflated, and how")

    @property
    def labels_from(self) -> tuple[str, str] | None:
        """Study and arm whose predictions are inflated; None: the scans' own labels."""
        if self.inflation is None or self.inflation.labels_from == "labels":
            return None
        study, _, arm = self.inflation.labels_from.partition("/")
        return study, arm


class NegativeVolumeStudy(Study):
    """One table of negative volumes."""

    joint: JointOptions = Field(default=JointOptions(), description="which bones make a joint, and how it is measured")
    arms: dict[Name, NegativeVolumeArm] = Field(  # type: ignore[assignment]
        min_length=1, description="arms by name; ours is called `volforge`"
    )

    @model_validator(mode="after")
    def _has_a_reference(self) -> NegativeVolumeStudy:
        for name, arm in self.arms.items():
            if arm.inflation is None:
                raise ValueError(f"arm '{name}': the task negative_volume needs `inflation`")
        if self.reference is None:
            raise ValueError("an arm must inflate the scans' own labels by `ray`: the others are compared with it")
        return self

    @property
    def reference(self) -> str | None:
        """The arm that the others are compared with: the scans' own labels, inflated by `ray`."""
        for name, arm in self.arms.items():
            if arm.inflation is not None and (arm.inflation.labels_from, arm.inflation.method) == ("labels", "ray"):
                return name
        return None
