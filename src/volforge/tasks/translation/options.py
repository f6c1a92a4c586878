"""The part of the configuration that speaks of translation: how a model learns to make a CT of an MR."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from volforge.tasks.protocol import Arm, Component, ImageStudy, Model, ModelOptions, Name

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
ADVERSARIAL = ("cycle", "one_way", "contrast")
POOL = 50  # earlier fakes


READ_BY: dict[str, tuple[str, ...]] = {
    "discriminator": (*ADVERSARIAL, "paired"),
    "adversarial": (*ADVERSARIAL, "paired"),
    "cycle": ("cycle",),
    "identity": ("cycle",),
    "contrast": ("contrast",),
    "contrast_identity": ("contrast",),
    "flip_equivariance": ADVERSARIAL,
    "pool": ADVERSARIAL,
    "bone": ("painted", "paired"),
    "edges": ("painted", "paired"),
    "painting": ("painted",),
}
"""Methods that read a key, where not all do."""


class Painting(Model):
    """How an MR is painted from a CT; see `volforge.tasks.translation.painting`."""

    prior: Literal["random", "t1"] = Field(
        default="random", description="greys of tissues: of any contrast, or such as T1 shows them"
    )
    fluid: bool = Field(default=True, description="small compact parcels of fluid: eyes, ventricles")
    trunk: bool = Field(default=True, description="lungs, bowel gas, organs, where the CT shows a trunk")
    lesions: Share = Field(default=0.25, description="share of the slices with a lesion")
    from_labels: bool = Field(default=False, description="grey by structure, where scans of the target have labels")


class Structure(Model):
    """A term that ties an image to its source inside the body, held at its level in true pairs."""

    term: Literal["gradient", "mind", "information"] = Field(
        default="gradient",
        description="correlation of gradients; MIND distance; normalised mutual information, 8 mm inside the body",
    )
    weight: Weight = Field(default=1.0, description="of |term - level|")
    level: float | None = Field(
        default=None, description="level in true pairs; empty: that of heads at 2 mm (docs/translation.md)"
    )


class TranslationOptions(Model):
    """How a model of translation learns."""

    method: Literal["cycle", "one_way", "contrast", "paired", "painted"] = Field(
        default="painted",
        description="`cycle`: two generators that undo each other; `one_way`: one generator and its discriminator; "
        "`contrast`: one generator whose patches keep their place (CUT); `paired`: registered pairs; `painted`: MR "
        "painted from CT",
    )
    also: list[str] = Field(
        default=[], description="further contrasts of the source's subject and frame, as channels (Dixon, say)"
    )
    context: int = Field(default=0, ge=0, le=3, description="neighbouring slices on each side, as channels")
    discriminator: Component | None = Field(
        default=None,
        description="judges images; empty: `patch_discriminator` in `cycle`, `one_way` and `contrast`, none in "
        "`paired` (pix2pix names one)",
    )
    adversarial: Weight = Field(default=1.0, description="weight of the discriminator, where there is one")
    cycle: Weight = Field(default=10.0, description="`cycle`: weight of what comes back")
    identity: Weight = Field(default=5.0, description="`cycle`: weight of what should stay as it is")
    contrast: Weight = Field(default=1.0, description="`contrast`: weight of the patches")
    contrast_identity: bool = Field(
        default=True, description="`contrast`: patches of the target too (CUT; not FastCUT)"
    )
    flip_equivariance: bool = Field(
        default=False,
        description="`cycle`, `one_way`, `contrast`: in half of the steps the generator sees mirrored images (FastCUT)",
    )
    correlation: Weight = Field(default=0.0, description="weight of 1 - r^2 of an image and its source; published 2")
    correlation_in: Literal["slice", "body"] = Field(
        default="slice", description="where r is taken: the whole slice, as published, or the body alone"
    )
    shape: Weight = Field(
        default=0.0,
        description="weight of the outline that the shape extractor finds against the MR's body; published 10",
    )
    shape_adversarial: Weight = Field(default=0.0, description="weight of a discriminator of such outlines")
    structure: Structure | None = Field(default=None, description="a term that ties an image to its source")
    draw: Literal["scans", "slices"] = Field(
        default="scans",
        description="what is drawn alike often: a scan, and then one of its slices; or any slice, as published",
    )
    pool: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="earlier fakes that discriminators are shown; empty: 50, and none with `contrast`, as published",
    )
    beta1: float = Field(default=0.5, ge=0, lt=1, description="first moment of Adam; its rate is that of `training`")
    position: Share = Field(
        default=0.0,
        description="a target slice lies within this share of the body's height of the source's; 0: anywhere",
    )
    bone: Weight = Field(default=0.0, description="`painted`, `paired`: how much more the error of bone counts")
    edges: Weight = Field(
        default=0.0, description="`painted`, `paired`: how much more the error at edges inside the body counts"
    )
    painting: Painting = Field(default=Painting(), description="`painted`: how")
    consistency: Weight = Field(
        default=0.0,
        description="`painted`: weight of what real MR should keep under flips and contrast, in the last third",
    )
    pairs: int = Field(
        default=0, ge=0, description="`painted`: subjects whose registered pairs are shown too, every second step"
    )
    targets: int | None = Field(
        default=None,
        ge=1,
        description="subjects whose target scans are learnt from, chosen by a hash of the seed; empty: all (`paired`: "
        "see `pairs` of `painted` instead)",
    )
    start: str = Field(default="", description="word of `needs`: the model whose generator the training starts from")
    select: Literal["structure", "painted", "pairs", "latest"] = Field(
        default="latest",
        description="what chooses the weights: inner structure terms against their level on true pairs of the "
        "validation subjects; the error on painted MR of validation CT; the error on validation pairs; or the last win",
    )

    def wrong(self) -> tuple[str, str]:
        """Key and fault of values that do not fit together, empty where all do; asked once the defaults are in them."""
        if self.select == "painted" and self.method != "painted":
            return "select", "only `painted` paints"
        if self.pairs and self.method != "painted":
            return "pairs", "the method `paired` sees all pairs; others see none"
        if self.targets is not None and self.method == "paired":
            return "targets", "the method `paired` learns from pairs alone"
        if self.consistency and self.method != "painted":
            return "consistency", "a second stage of `painted` only"
        if self.position and self.method not in ADVERSARIAL:
            return "position", "belongs to methods that draw slices of both domains"
        if (self.shape or self.shape_adversarial or self.correlation) and self.method not in ADVERSARIAL:
            return "shape" if self.shape or self.shape_adversarial else "correlation", "belongs to adversarial methods"
        if self.structure is not None and self.method not in ADVERSARIAL:
            return "structure", "belongs to adversarial methods: others have an answer"
        if self.method in ADVERSARIAL and not self.adversarial:
            return "adversarial", "the discriminator alone sees real targets"
        if len(set(self.also)) != len(self.also):
            return "also", "a contrast stands twice"
        return "", ""

    def unread(self, said: Collection[str]) -> Iterator[tuple[str, str]]:
        """Keys that were said and that nothing reads, each with the reason; asked once the defaults are in the values.

        Args:
            said: Keys that stand at the model itself: what its study's defaults say may be meant for others.
        """
        for key in sorted(said):
            methods = READ_BY.get(key)
            if methods is not None and self.method not in methods:
                yield key, f"the method `{self.method}` does not read it: it belongs to {', '.join(methods)}"
        if "adversarial" in said and self.method == "paired" and self.adversarial and self.discriminator is None:
            yield "adversarial", "no `discriminator` is named, and registered pairs have none by themselves"
        if "correlation_in" in said and not self.correlation:
            yield "correlation_in", "there is no weight of `correlation`"

    def plain(self) -> dict[str, object]:
        """As settings keep it: the discriminator as one mapping."""
        content = self.model_dump()
        own = self.discriminator.spec if self.discriminator is not None else {"name": "patch_discriminator"}
        content["discriminator"] = own if self.has_discriminator else None
        content["pool"] = (0 if self.method == "contrast" else POOL) if self.pool is None else self.pool
        return content

    @property
    def has_discriminator(self) -> bool:
        """Whether something judges whole images."""
        is_pix2pix = self.method == "paired" and self.discriminator is not None and self.adversarial > 0
        return self.method in ADVERSARIAL or is_pix2pix


class Doubt(Model):
    """Standard deviation of an image over repetitions."""

    flips: bool = Field(default=True, description="sides exchanged")
    jitters: int = Field(default=4, ge=0, le=32, description="repetitions under other contrasts of the source")


class TranslationModel(ModelOptions):
    """Settings of a model of translation; what is not said comes from the study's `defaults`."""

    learns: Literal["translation", "outline"] | None = Field(
        default=None,
        description="`translation`, or `outline`: the shape extractor of `shared`, which finds bodies in CT",
    )
    translation: TranslationOptions | None = Field(default=None, description="how it learns")


class TranslationArm(Arm):
    """One way to translate; one column of the study's table."""

    models: dict[Name, TranslationModel] = Field(  # type: ignore[assignment]
        default={}, description="models that are trained: one, or one for each view (recipes of other axes)"
    )
    fuse: Literal["median", "mean"] = Field(default="median", description="how the images of several views are joined")
    ceiling: bool = Field(
        default=False, description="a bound for the others, since it saw pairs that they did not: it is never ranked"
    )
    doubt: Doubt | None = Field(default=None, description="a map of doubt beside each image; empty: none")


class TranslationStudy(ImageStudy):
    """One table of translation."""

    kvp: Literal[80, 120, 140] | None = Field(
        default=None,
        description="tube voltage of the CTs, for attenuation at 511 keV and water-equivalent paths; empty: not known, "
        "120 kV is taken and the rows are called `kvp_unknown`",
    )
    shown_scan: str = Field(
        default="", description="source scan of the picture of all arms side by side; empty: the first one"
    )
    defaults: TranslationModel = Field(
        default=TranslationModel(), description="settings of every model of the study that its own do not override"
    )
    shared: dict[Name, TranslationModel] = Field(  # type: ignore[assignment]
        default={}, description="models that serve all arms: the shape extractor (`learns: outline`)"
    )
    arms: dict[Name, TranslationArm] = Field(  # type: ignore[assignment]
        min_length=1, description="arms by name; ours is called `volforge`"
    )

    @model_validator(mode="after")
    def _makes_another_image(self) -> TranslationStudy:
        if self.source == self.target:
            raise ValueError("source and target are the same scans")
        said = self.metrics.model_fields_set & {"range_hu", "window_hu"}
        if self.target.modality == "MR" and said:
            raise ValueError(
                f"values of MR are percent of each scan's own window: leave out {' and '.join(sorted(said))}"
            )
        return self
