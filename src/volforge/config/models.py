"""Settings of cohorts and recipes as closed, frozen models; their descriptions are the reference documentation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from volforge.config.model import Model, Name


class Phantom(Model):
    """Makes the scans of the cohort instead of reading them."""

    kind: Literal["tmj", "skull", "body"] = Field(description="which anatomy is drawn")
    seed: int = Field(default=1, ge=0, description="seed of subjects, noise and texture")
    spacing_mm: float | None = Field(
        default=None, gt=0.2, le=10, description="voxel size; empty: the phantom's own (0.8, 3.4 or 4 mm)"
    )


class BodyMask(Model):
    """How the body is found in an image; outside of it stands air."""

    method: Literal["auto", "none"] = Field(
        default="auto",
        description="`auto`: 3-D body mask for CT, CBCT and MR; `none`: the whole grid is body",
    )
    threshold_hu: float = Field(default=-400, ge=-900, le=0, description="CT: tissue lies above this value")
    threshold_fraction: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="MR: tissue lies above this share of the bright level; empty: found from the air's noise",
    )
    opening_mm: float = Field(
        default=3.0, ge=0, le=20, description="radius of the opening that cuts couch and holder from the core"
    )
    piece_contact: float = Field(
        default=0.12, ge=0, le=1, description="a removed piece returns (an ear) from this contact share on"
    )
    piece_depth_mm: float = Field(default=25, ge=0, description="... if no deeper than this")
    piece_median_hu: float = Field(default=-200, description="... and (CT) of this median value or more")


class Splits(Model):
    """Shares of the subjects in train, val and test, where the sheet does not say."""

    train: float = Field(default=0.8, ge=0, le=1, description="share of subjects that train")
    val: float = Field(default=0.1, ge=0, le=1, description="share of subjects that select a model")
    test: float = Field(default=0.1, ge=0, le=1, description="share of subjects that are measured")

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> Splits:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train + val + test must be 1, not {self.train + self.val + self.test:g}")
        return self


class LabelsCommand(Model):
    """An outside program that makes the label map of a scan (a public segmenter, say)."""

    command: list[str] = Field(
        min_length=1,
        description="program and arguments, without a shell; `{image}` and `{labels}` stand for the paths",
    )
    version_command: list[str] | None = Field(
        default=None, description="prints the program's version, which is recorded"
    )
    gpu: int = Field(default=0, ge=0, le=1, description="GPUs that the job asks for")
    mem_mb: int = Field(default=8000, ge=500, description="memory that the job asks for")
    runtime_min: int = Field(default=60, ge=1, description="time that the job asks for")
    threads: int = Field(default=1, ge=1, description="cores that the job asks for")

    @model_validator(mode="after")
    def _names_both_files(self) -> LabelsCommand:
        joined = " ".join(self.command)
        missing = [p for p in ("{image}", "{labels}") if p not in joined]
        if missing:
            raise ValueError(f"command must name {' and '.join(missing)}")
        return self


class Balls(Model):
    """Synthetic negative-volume balls: what an annotator leaves who lays a sphere over a joint and cuts out the bones.

    They are written where no structure lies, and count as labels of the source `derived`.
    """

    structure: Name = Field(
        default="negative_volume", description="group of the table of structures, with a left and a right one"
    )
    condyle: Name = Field(default="condyle", description="group of the condyles, over whose heads the balls lie")
    radius_mm: float = Field(default=15.0, gt=0, le=60, description="radius")


class Cohort(Model):
    """A set of scans described by one sample sheet."""

    sheet: str = Field(description="sample sheet, TSV or CSV; relative to the file that names it")
    structures: str | None = Field(
        default=None, description="table of structures; empty: `<sheet>.structures.tsv` where it exists"
    )
    root: str | None = Field(
        default=None,
        description="folder that the sheet's relative paths start from; empty: the sheet's folder",
    )
    licence: str = Field(default="", description="terms of the data, printed in the report")
    phantom: Phantom | None = Field(default=None, description="a rule makes the scans")
    recipes: list[Name] = Field(default=[], description="recipes that are cut whether a study asks or not")
    folds: int = Field(default=5, ge=1, le=100, description="folds of cross-validation, by subject")
    seed: int = Field(default=0, ge=0, description="seed of splits and folds")
    splits: Splits = Field(default=Splits(), description="shares of the subjects")
    on_bad_scan: Literal["stop", "exclude"] = Field(
        default="stop",
        description="`stop`: refused scans end the run, all named; `exclude`: the others go on",
    )
    label_grid: Literal["same", "resample"] = Field(
        default="same", description="a label map on another grid is an error, or resampled to the image's"
    )
    mesh_frame: Literal["lps", "ras"] = Field(
        default="lps", description="patient frame of STL files whose header does not tell"
    )
    background: Literal["air", "keep"] = Field(
        default="air", description="what stands outside of the body in the canonical image"
    )
    body_mask: BodyMask = Field(default=BodyMask(), description="how the body is found")
    balls: Balls | None = Field(
        default=None, description="spheres over the jaw joints without the bones, as a structure made at import"
    )
    qc_faces: Literal["keep", "remove"] = Field(
        default="keep",
        description="`remove`: QC pictures of heads leave out the face, for pages that are passed on; volumes keep it",
    )
    labels_command: LabelsCommand | None = Field(
        default=None, description="program that makes label maps for scans that have none"
    )


class HuWindow(Model):
    """A fixed window of CT values; the same for every scan."""

    kind: Literal["hu"] = Field(description="fixed window in HU")
    low: float = Field(default=-1024, description="HU that becomes -1")
    high: float = Field(default=1500, description="HU that becomes +1")

    @model_validator(mode="after")
    def _is_ordered(self) -> HuWindow:
        if self.low >= self.high:
            raise ValueError("low must lie below high")
        return self


class PercentileWindow(Model):
    """A window from percentiles inside the body, scan by scan, recorded for the way back."""

    kind: Literal["percentile"] = Field(description="percentiles of the values inside the body")
    low: float = Field(default=0.5, ge=0, lt=100, description="percentile that becomes -1")
    high: float = Field(default=99.5, gt=0, le=100, description="percentile that becomes +1")

    @model_validator(mode="after")
    def _is_ordered(self) -> PercentileWindow:
        if self.low >= self.high:
            raise ValueError("low must lie below high")
        return self


Window = Annotated[HuWindow | PercentileWindow, Field(discriminator="kind")]


class RecipeBase(Model):
    """What slices and regions share."""

    ct_window: Window = Field(default=HuWindow(kind="hu"), description="window of CT scans, and of CBCT scans in HU")
    mr_window: Window = Field(
        default=PercentileWindow(kind="percentile"),
        description="window of MR scans and of scans in arbitrary units",
    )


class SliceRecipe(RecipeBase):
    """Slices along one anatomical axis, one chunk each."""

    kind: Literal["slices"] = Field(description="2-D slices")
    axis: Literal["axial", "coronal", "sagittal"] = Field(
        default="axial", description="slices are perpendicular to the scan axis nearest to this one's normal"
    )
    spacing_mm: float | None = Field(
        default=None, gt=0.05, le=20, description="in-plane pixel size; empty: the scan's own"
    )
    size: list[Annotated[int, Field(ge=8, le=4096)]] | None = Field(
        default=None,
        min_length=2,
        max_length=2,
        description="rows and columns, cropped or padded about the body's centre; empty: the whole slice",
    )
    min_body_mm2: float = Field(
        default=100.0, ge=0, description="a slice with less body than this is blank and is not kept"
    )
    require_labels: bool = Field(
        default=False, description="a slice without any labelled voxel is blank too (as published)"
    )
    background: Literal["body", "legacy_threshold"] = Field(
        default="body",
        description="`body`: as imported; `legacy_threshold`: the published 2-D rule on 8-bit slices instead",
    )


class RegionRecipe(RecipeBase):
    """One 3-D block per scan."""

    kind: Literal["region"] = Field(description="3-D region")
    spacing_mm: list[Annotated[float, Field(gt=0.05, le=20)]] | None = Field(
        default=None,
        min_length=3,
        max_length=3,
        description="voxel size along R, A, S; empty: the scan's own",
    )
    size: list[Annotated[int, Field(ge=4, le=2048)]] | None = Field(
        default=None,
        min_length=3,
        max_length=3,
        description="voxels along R, A, S, cropped or padded about the centre; empty: what `around` spans",
    )
    around: Literal["body", "image"] | list[str] = Field(
        default="body", description="`body`, `image`, or a list of structures whose box is cut"
    )
    margin_mm: float = Field(default=10.0, ge=0, description="added on every side of the box")


Recipe = Annotated[SliceRecipe | RegionRecipe, Field(discriminator="kind")]
