"""The part of the configuration that speaks of studies: their arms, metrics and published numbers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from volforge.config.component import StructureName, StructureNames
from volforge.config.model import Model, Name
from volforge.config.training import Inference, ModelOptions

OURS = "volforge"  # our best arm, in every study
SHARED = "shared"  # the arm whose models serve all arms of a study


class Arm(Model):
    """One way to solve the task; one column of the study's table."""

    origins: ClassVar[tuple[str, ...]] = ("models", "baseline", "predictions")
    """Keys of which an arm has one."""

    baseline: str | None = Field(
        default=None, description="no learning: a baseline of the task (the list stands at the end of this page)"
    )
    predictions: str | None = Field(
        default=None,
        description="folder of predictions made elsewhere (another program, a second observer), one `<scan>.nii.gz`, "
        "`.nii`, `.nrrd` or `.mha` per scan on the scan's grid",
    )
    threshold_hu: float = Field(default=250, description="`threshold_components`: bone lies above this value")
    constant_hu: float = Field(default=40, description="`constant`: value of the whole body")
    closing_mm: float = Field(default=20, gt=0, le=100, description="`closing`: radius that closes the defect")
    models: dict[Name, ModelOptions] = Field(
        default={}, description="models that are trained, by name; their structures are joined to one label map"
    )
    inference: Inference = Field(default=Inference(), description="how the models are applied to a scan")
    published_as: str = Field(default="", description="name of the arm in the published table; empty: its own")
    note: str = Field(default="", description="a sentence for the table's foot")

    @model_validator(mode="after")
    def _has_one_origin(self) -> Arm:
        if sum(bool(getattr(self, key)) for key in self.origins) != 1:
            names = [f"`{key}`" for key in self.origins]
            raise ValueError(f"an arm needs one of {', '.join(names[:-1])} and {names[-1]}")
        return self


class ScanChoice(Model):
    """Which scans of the cohort play a part in image tasks."""

    modality: Literal["CT", "CBCT", "MR"] = Field(description="modality of the scans")
    contrast: str | None = Field(default=None, description="contrast of the scans; empty: any")


class Near(Model):
    """Where two structures face each other: the part of a structure within a distance of another one."""

    structure: StructureName = Field(description="structure or group that is measured")
    of: StructureName = Field(description="structure or group whose neighbourhood counts, by the reference")
    mm: float = Field(default=10, gt=0, le=100, description="distance")


class StudyMetrics(Model):
    """Which numbers a study reports."""

    tolerances_mm: list[Annotated[float, Field(gt=0, le=100)]] = Field(
        default=[1.0, 2.0], description="tolerances of the surface Dice (NSD)"
    )
    surface: Literal["voxels", "elements"] = Field(
        default="voxels",
        description="`voxels`: border voxels (MONAI, MedPy); `elements`: pieces weighted by area (surface-distance)",
    )
    boundary_mm: float = Field(default=10, gt=0, description="implants: width of the boundary Dice around the bone")
    near: Near | None = Field(default=None, description="segmentation: the Dice of a structure close to another one")
    range_hu: list[float] = Field(
        default=[-1024, 3000], min_length=2, max_length=2, description="range of PSNR and SSIM (SynthRAD2023)"
    )
    structural: bool = Field(default=True, description="SSIM and MS-SSIM, the slowest of the image measures")
    distribution: bool = Field(
        default=True, description="Fréchet, kernel distance and MMD of slices; needs the packages of the extra `train`"
    )
    window_hu: list[float] = Field(
        default=[-1000, 1000], min_length=2, max_length=2, description="window of the slices whose features are taken"
    )
    encoder_steps: int = Field(default=200, ge=1, description="training steps of the encoder of the Fréchet distance")
    segmenter_steps: int = Field(
        default=300,
        ge=0,
        description="semantic synthesis: training steps of the segmenter of real images that reads synthetic ones; "
        "0: none",
    )
    segmenter_mm: float = Field(default=4.0, gt=0.1, le=20, description="its pixel size in the axial plane")
    utility: bool = Field(
        default=False,
        description="semantic synthesis: such segmenters learn from each arm's synthetic images and are tested on the "
        "real ones of other subjects",
    )
    legacy: bool = Field(default=False, description="add the `legacy_*` measures of the published code")

    @field_validator("tolerances_mm")
    @classmethod
    def _names_differ(cls, value: list[float]) -> list[float]:
        if len({f"{t:g}" for t in value}) != len(value):  # their measures would have one name
            raise ValueError("a tolerance stands twice")
        return value

    @field_validator("range_hu", "window_hu")
    @classmethod
    def _is_ordered(cls, value: list[float]) -> list[float]:
        if value[0] >= value[1]:
            raise ValueError("the first value must lie below the second")
        return value


class Published(Model):
    """The published numbers that a study stands beside."""

    table: str = Field(description="TSV of published numbers; relative to the file that names it")
    study: str = Field(default="", description="value of its column `study`; empty: the task")
    same_data: bool = Field(
        default=False,
        description="true only where cohort and size are those of the paper: its numbers then stand in a column "
        "beside ours; otherwise in a block of their own",
    )
    cohort: str = Field(default="", description="with `same_data`: value of its column `cohort` that is this study's")


class Study(Model):
    """One table of one paper."""

    task: str = Field(
        description="what the arms solve; `file.py:Class`: a task of your own (docs/a-task-of-your-own.md)"
    )
    cohort: Name = Field(description="cohort that is learnt from and measured on")
    folds: list[Annotated[int, Field(ge=0)]] = Field(
        default=[], description="folds that are tested, by the cohort's column `fold`; empty: the split `test`"
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1, description="seeds of every arm")
    structures: StructureNames = Field(
        default=[], description="structures or groups that are measured; empty: all of the cohort's table"
    )
    equal: Literal["samples", "time"] = Field(
        default="samples",
        description="what arms must have alike to be ranked: `samples` that their trainings see (an arm with fewer "
        "is marked); `time`: you chose steps so that trainings last alike, the table says so, and the page warns where "
        "they did not",
    )
    metrics: StudyMetrics = Field(default=StudyMetrics(), description="which numbers")
    defaults: ModelOptions = Field(
        default=ModelOptions(), description="settings of every model of the study that its own do not override"
    )
    shared: dict[Name, ModelOptions] = Field(
        default={}, description="models that serve all arms: the localiser that finds the joints"
    )
    arms: dict[Name, Arm] = Field(min_length=1, description="arms by name; ours is called `volforge`")
    published: Published | None = Field(default=None, description="published numbers beside ours")
    cases: int = Field(default=6, ge=0, description="cases per arm whose slices are in the report: worst, median, best")

    @model_validator(mode="after")
    def _fits_together(self) -> Study:
        if len(set(self.folds)) != len(self.folds) or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("folds and seeds must differ from each other")
        if SHARED in self.arms:
            raise ValueError(f"'{SHARED}' is the name of the models that serve all arms; call the arm otherwise")
        return self


class ImageStudy(Study):
    """A study whose arms make images: what they read, and what they make."""

    source: ScanChoice = Field(
        default=ScanChoice(modality="MR"),
        description="translation: what is translated (same subject and frame); semantic synthesis, unpaired: whose "
        "label maps are painted in training",
    )
    target: ScanChoice = Field(default=ScanChoice(modality="CT"), description="image tasks: what is made")
