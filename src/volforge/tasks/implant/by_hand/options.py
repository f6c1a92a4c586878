"""How one skull is completed by hand."""

from __future__ import annotations

from dataclasses import dataclass

from volforge.errors import VolforgeError
from volforge.tasks.implant.bone import BONE_HU
from volforge.tasks.implant.made import MakeOptions
from volforge.tasks.implant.making.drainage import Drainage
from volforge.tasks.implant.mesh import PrintOptions, Space
from volforge.tasks.implant.post import PostOptions
from volforge.volume.units import UNITS, is_unit

MODALITIES = ("", "CT", "CBCT", "mask")
FORMATS = ("nifti", "nrrd")
SPACES = ("RAS", "LPS")
MOST_PIECES = 20
MOST_UNSEEN = 0.2


@dataclass(frozen=True)
class CaseOptions:
    """Settings of one skull.

    Attributes:
        modality: `CT`, `CBCT`, `mask`; empty: a scan of two values is a mask, any other a CT.
        unit: Of a CT, as a sample sheet says it.
        bone_hu: Lowest value of bone.
        gap_mm: Clearance between implant and bone.
        thin: Share of the volume that thinning from inside leaves; None: none.
        drainage: Holes, or None.
        min_cm3: Smaller pieces are dropped.
        faces: Most faces of a mesh.
        space: Axes of the meshes' millimetres.
        formats: Of the volumes: `nifti` always, `nrrd` beside it on request.
        least_mm2: Area of the smallest hole that is closed; None: 130, and 15 percent of the largest.
        most_unseen: A hole is left open where the scan ends before more than this share of its bone.
    """

    modality: str = ""
    unit: str = "hu"
    bone_hu: float = BONE_HU
    gap_mm: float = 0.0
    thin: float | None = None
    drainage: Drainage | None = None
    min_cm3: float = 0.2
    faces: int = 100_000
    space: Space = "RAS"
    formats: tuple[str, ...] = ()
    least_mm2: float | None = None
    most_unseen: float = MOST_UNSEEN

    def __post_init__(self) -> None:
        words = (("--modality", self.modality, MODALITIES), ("--space", self.space, SPACES))
        for option, value, known in (*words, *(("--format", f, FORMATS) for f in self.formats)):
            if value not in known:
                shown = ", ".join(k for k in known if k)
                raise VolforgeError(f"unknown value '{value}'", option, f"one of {shown}")
        if not is_unit(self.unit) or self.unit == "arbitrary":
            raise VolforgeError(
                f"'{self.unit}' has no threshold of bone",
                "--unit",
                f"one of {', '.join(u for u in UNITS if u != 'arbitrary')}",
            )
        if self.faces < 1000:
            raise VolforgeError(f"{self.faces} faces are too few for a mesh", "--faces", "1000 or more")
        if self.gap_mm < 0 or self.min_cm3 < 0:
            raise VolforgeError("lengths and volumes are 0 or more", "--gap-mm, --min-cm3")
        if self.least_mm2 is not None and self.least_mm2 <= 0:
            raise VolforgeError(f"{self.least_mm2:g} is no area", "--least-mm2", "above 0, such as 50 for a burr hole")
        if self.thin is not None and not 0 < self.thin <= 1:
            raise VolforgeError(
                f"{self.thin:g} is no share of a volume", "--thin", "above 0 and at most 1, such as 0.7"
            )

    @property
    def post(self) -> PostOptions:
        """Of the implants of all holes together."""
        return PostOptions(max_components=MOST_PIECES, min_cm3=self.min_cm3, gap_mm=self.gap_mm, thin_ratio=self.thin)

    @property
    def of_piece(self) -> MakeOptions:
        """Of one implant, whose mask is finished: its mesh, its fit and its holes are left to make."""
        return MakeOptions(
            PostOptions(open_mm=0, fill_holes=False), PrintOptions(faces=self.faces, space=self.space), self.drainage
        )


def drainage_of(text: str) -> Drainage | None:
    """Holes from `diameter,spacing,margin`; None for an empty text.

    Raises:
        VolforgeError: These are no three numbers, or no pattern.
    """
    if not text:
        return None
    try:
        diameter, spacing, margin = (float(w) for w in text.split(","))
    except ValueError:
        raise VolforgeError(
            f"'{text}' is no pattern of holes", "--drainage", "write 2,12,8: diameter,spacing,margin"
        ) from None
    return Drainage(diameter, spacing, margin)
