"""What a kriged model is fitted and predicted with, as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
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
        """From plain values; what is not named keeps its default.

        Raises:
            TypeError: An unknown name.
            ValueError: Values out of their range, all of them.
        """
        usual, made = cls(), dict(content)
        for name in ("disc", "region", "vault", "passes", "thinning"):
            if name in made:
                made[name] = replace(getattr(usual, name), **made[name])
        if "lengths_mm" in made:
            made["lengths_mm"] = tuple(float(v) for v in made["lengths_mm"])
        found = cls(**made)
        if faults := list(found.faults()):
            raise ValueError("; ".join(faults))
        return found

    def faults(self) -> Iterator[str]:
        """Values out of their range."""
        for where, value, low, high in (
            ("disc.pixel_mm", self.disc.pixel_mm, 0.25, 12),
            ("disc.radius_mm", self.disc.radius_mm, 20, 200),
            ("disc.colatitude_deg", self.disc.colatitude_deg, 20, 170),
            ("region.colatitude_deg", self.region.colatitude_deg, 10, self.disc.colatitude_deg),
            ("region.spread_mm", self.region.spread_mm, 0.01, 100),
            ("vault.colatitude_deg", self.vault.colatitude_deg, 10, self.disc.colatitude_deg),
            ("vault.spread_mm", self.vault.spread_mm, 0.01, 100),
            ("passes.count", self.passes.count, 1, 20),
            ("passes.ring_mm", self.passes.ring_mm, 0, 100),
            ("thinning.beyond", self.thinning.beyond, 1, 100),
            ("offset_mm", self.offset_mm, 0, 100),
            ("closed", self.closed, 0, 10**6),
            ("skulls", 1 if self.skulls is None else self.skulls, 1, 10**9),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                yield f"{where} is {value!r}, and lies from {low:g} to {high:g}"
        if not self.lengths_mm or not all(0 < v <= 1000 for v in self.lengths_mm):
            yield f"lengths_mm is {list(self.lengths_mm)}: some lengths above 0"
        for where in ("symmetric", "evidence", "calibrated"):
            if not isinstance(getattr(self, where), bool):
                yield f"{where} is {getattr(self, where)!r}: true or false"
        if self.evidence and not self.symmetric:
            yield "evidence decides for or against `symmetric`, which is off"

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        content = asdict(self)
        content["lengths_mm"] = list(self.lengths_mm)
        return content
