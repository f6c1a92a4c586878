"""What a kriged model is fitted and predicted with, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from volforge.tasks.implant.kriging.complete import Passes
from volforge.tasks.implant.kriging.covariance import LENGTHS_MM
from volforge.tasks.implant.kriging.disc import Disc
from volforge.tasks.implant.kriging.solve import Thinning


@dataclass(frozen=True)
class Region:
    """Where the two surfaces are taken as functions of the direction.

    Attributes:
        colatitude_deg: The region ends before this angle from the vertex.
        spread_mm: And where skulls differ by more than this standard deviation.
    """

    colatitude_deg: float = 115.0
    spread_mm: float = 9.0


@dataclass(frozen=True)
class KrigingSettings:
    """Settings of a kriged model.

    Attributes:
        disc, region, passes, thinning: See there.
        vault: The part of the region that the covariance is learnt from: below it skulls vary in another way.
        lengths_mm: Lengths of the kernels.
        symmetric: Whether the covariance may hold a symmetric part.
        evidence: Whether each skull decides by its likelihood between that covariance and one without such a part.
        offset_mm: Standard deviation of an offset of each surface.
        calibrated: Whether variances are scaled by trial holes in the skulls that are fitted.
        closed: How many of those skulls at most are closed again, for limits of doubt and intervals; 0: it has none.
        skulls: How many of the complete skulls are learnt from, the first by rank; None: all.
    """

    disc: Disc = field(default_factory=Disc)
    region: Region = field(default_factory=Region)
    vault: Region = field(default_factory=lambda: Region(108.0, 7.0))
    passes: Passes = field(default_factory=Passes)
    thinning: Thinning = field(default_factory=Thinning)
    lengths_mm: tuple[float, ...] = LENGTHS_MM
    symmetric: bool = True
    evidence: bool = False
    offset_mm: float = 0.0
    calibrated: bool = True
    closed: int = 16
    skulls: int | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> KrigingSettings:
        """From plain values; what is not named keeps its default."""
        made: dict[str, Any] = dict(content)
        for name, kind in (
            ("disc", Disc),
            ("region", Region),
            ("vault", Region),
            ("passes", Passes),
            ("thinning", Thinning),
        ):
            if name in made:
                made[name] = kind(**made[name])
        if "lengths_mm" in made:
            made["lengths_mm"] = tuple(float(v) for v in made["lengths_mm"])
        return cls(**made)

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        content = asdict(self)
        content["lengths_mm"] = list(self.lengths_mm)
        return content
