"""Synthetic defects of complete skulls: a shape at a drawn place, taken out of the vault, redrawn until it is a hole.

A defect is a mask T within the bone S: implant = T and S, defective = S without T. Its seed words alone decide it; all
lengths are mm in the patient's space: another grid, oblique or anisotropic, gives the same defect up to its voxels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from volforge.cohort.phantoms.fields import stream
from volforge.errors import VolforgeError
from volforge.tasks.implant.defects.cut import Cut, contact_mm2, cut_out, frame_about
from volforge.tasks.implant.defects.head import PLACES, draw_direction, place_of, right_share
from volforge.tasks.implant.defects.shapes import KINDS, Shape, draw_shape
from volforge.tasks.implant.defects.sizes import SIZES, draw_size, size_of
from volforge.tasks.implant.defects.vault import Vault, vault_of
from volforge.volume.geometry import Affine, Array

FORMAT = 1  # goes up when the same seed words give another defect
THICKNESS_MM = 6.5  # of a common vault: how wide a defect of a volume will be
SEARCH_MM = 2.0  # voxels that the search for a size looks at
SEARCH_STEPS = 8
LARGEST_FACTOR = 2.5
Word = str | int


@dataclass(frozen=True)
class DefectOptions:
    """What is asked of a defect.

    Attributes:
        kind: `burr_box`, `cuboid`, `sphere` or `irregular`.
        place: `frontal`, `parietal`, `temporal`, `vertex`, `occipital`, `bilateral` or `any`.
        size: `small` (below 20 cm3), `medium`, `large` (45 to 70 cm3), or `any`: as the kind is drawn.
        min_cm3: Smallest implant.
        min_contact_mm2: Smallest border between implant and bone, as the area of shared voxel faces.
        min_kept: Smallest share of the bone that stays.
        min_one_piece: Smallest share of what the shape meets in its largest piece, which is the implant.
        most_tries: Draws before it fails.
    """

    kind: str
    place: str = "any"
    size: str = "any"
    min_cm3: float = 5.0
    min_contact_mm2: float = 100.0
    min_kept: float = 0.6
    min_one_piece: float = 0.99
    most_tries: int = 50

    def __post_init__(self) -> None:
        for name, words in (("kind", KINDS), ("place", (*PLACES, "any")), ("size", (*SIZES, "any"))):
            value = getattr(self, name)
            if value not in words:
                raise VolforgeError(f"unknown {name} of defects '{value}'", remedy=f"one of {', '.join(words)}")
        low, high = SIZES.get(self.size, (0.0, np.inf))
        if self.min_cm3 < 0 or self.min_cm3 >= high:
            text = f"no {self.size} defect has {self.min_cm3:g} cm3 or more"
            raise VolforgeError(text, remedy=f"lower `min_cm3`, or ask for another size (this is {low:g} to {high:g})")
        if self.most_tries < 1:
            raise VolforgeError("a defect needs one try at least", remedy="raise `most_tries`")


@dataclass(frozen=True)
class Defect:
    """A defect of one skull.

    Attributes:
        mask: (X, Y, Z) bool on the skull's grid: the implant, all of it bone of the skull.
        record: Every drawn value, place, size, and how it was accepted; plain JSON.
    """

    mask: Array
    record: dict[str, Any]


def draw_defect(
    skull: Array, affine: Affine, options: DefectOptions, seed_words: Sequence[Word], vault: Vault | None = None
) -> Defect:
    """Draw a defect of a complete skull.

    Args:
        skull: (X, Y, Z) bool, any axis order, at any spacing to 4 mm.
        affine: 4x4, voxel index to RAS mm.
        options: What is asked of it.
        seed_words: What decides all that is random: cohort, scan, index ...
        vault: Of this skull, from `vault_of`, where several defects are drawn.

    Returns:
        The defect.

    Raises:
        VolforgeError: No draw was accepted; it names the seed words and counts the reasons. The skull is empty.
    """
    vault = vault_of(skull, affine) if vault is None else vault
    bone = int(np.count_nonzero(vault.bone))
    reasons: Counter[str] = Counter()
    for attempt in range(options.most_tries):
        rng = stream(0, "defect", *map(str, seed_words), str(attempt))
        found = _try(vault, options, rng, bone)
        if isinstance(found, str):
            reasons[found] += 1
            continue
        drawn, record = found
        record = {
            "format": FORMAT,
            "seed_words": [w if isinstance(w, int) else str(w) for w in seed_words],
            "options": asdict(options),
            "tries": attempt + 1,
            "refused": dict(sorted(reasons.items())),
            **record,
        }
        return Defect(drawn.on_grid(skull), record)
    listed = "; ".join(f"{text} ({n})" for text, n in reasons.most_common())
    asked = f"{options.kind}, place {options.place}, size {options.size}"
    raise VolforgeError(
        f"no defect ({asked}) in {options.most_tries} draws: {listed}",
        " ".join(map(str, seed_words)),
        "ask for another place or size, or look whether the skull is complete and upright",
    )


def _try(vault: Vault, options: DefectOptions, rng: np.random.Generator, bone: int) -> tuple[Cut, dict[str, Any]] | str:
    """One draw: the cut and its record, or why it is none."""
    asked_cm3 = draw_size(rng, options.size, options.min_cm3)
    width = 32.0 if asked_cm3 is None else np.sqrt(asked_cm3 * 1000 / (np.pi * THICKNESS_MM))
    canonical = draw_direction(rng, options.place, min(0.62, 0.42 * width / float(vault.head.semi[0])))
    direction = vault.head.direction(canonical)
    turn = float(rng.uniform(0, 2 * np.pi))
    shape = draw_shape(options.kind, rng)
    surface = vault.surface(direction)
    if surface is None:
        return "no vault at the place"
    place, normal = surface
    axes = frame_about(normal, turn)
    if asked_cm3 is not None:
        fitted = _of_size(vault, shape, place, axes, asked_cm3)
        if fitted is None:
            return "the shape cannot be made so large there"
        shape = fitted
    drawn = cut_out(vault, shape, place, axes)
    cm3 = len(drawn.index) * vault.voxel_mm3 / 1000
    if cm3 < options.min_cm3:
        return f"the implant is smaller than {options.min_cm3:g} cm3"
    size = size_of(cm3)
    if options.size not in ("any", size):
        return f"the implant is not {options.size}"
    points = drawn.index @ vault.affine[:3, :3].T + vault.affine[:3, 3]
    named, region = place_of(vault.head, points)
    if options.place not in ("any", named):
        return f"the implant is not {options.place}"
    kept = 1 - len(drawn.index) / bone
    if kept < options.min_kept:
        return f"less than {options.min_kept:.0%} of the bone stays"
    if drawn.one_piece < options.min_one_piece:
        return f"the largest piece holds less than {options.min_one_piece:.0%} of the implant"
    contact = contact_mm2(drawn, vault.spacing_mm)
    if contact < options.min_contact_mm2:
        return f"the implant touches less than {options.min_contact_mm2:g} mm2 of bone"
    return drawn, {
        "kind": options.kind,
        "place": named,
        "region": region,
        "size": size,
        "size_cm3": round(cm3, 4),
        "asked_cm3": None if asked_cm3 is None else round(asked_cm3, 4),
        "right_share": round(right_share(vault.head, points), 4),
        "kept_share": round(kept, 4),
        "one_piece_share": round(drawn.one_piece, 4),
        "contact_mm2": round(contact, 2),
        "canonical_direction": _rounded(canonical),
        "place_mm": _rounded(place),
        "normal": _rounded(normal),
        "axes": [_rounded(row) for row in axes],
        "head_centre_mm": _rounded(vault.head.centre),
        "head_semi_mm": _rounded(vault.head.semi),
        "shape": shape.record(),
    }


def _rounded(values: Array) -> list[float]:
    return [round(float(v), 4) for v in values]


def _of_size(vault: Vault, shape: Shape, place: Array, axes: Array, cm3: float) -> Shape | None:
    """The shape scaled until it takes a volume out; None where it would have to be more than 2.5 times as large."""
    reach = shape.scaled(LARGEST_FACTOR).reach_mm
    _, local, mm3 = vault.near(place, axes, reach, SEARCH_MM)
    low, high = 0.0, LARGEST_FACTOR
    factor = 1.0
    for _ in range(SEARCH_STEPS):
        found = np.count_nonzero(shape.scaled(factor).contains(local)) * mm3 / 1000
        if abs(found / cm3 - 1) < 0.01:
            break
        low, high = (factor, high) if found < cm3 else (low, factor)
        guess = factor * np.sqrt(cm3 / max(found, 0.01 * cm3))  # volumes of plates grow with the square
        factor = float(guess) if low < guess < high else (low + high) / 2
    return None if factor > 0.98 * LARGEST_FACTOR else shape.scaled(factor)
