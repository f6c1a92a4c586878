"""What is wrong with a case, in plain sentences, the gravest first."""

from __future__ import annotations

import math

from volforge.tasks.implant.by_hand.pieces import Pieces
from volforge.tasks.implant.by_hand.scan import Scan
from volforge.tasks.implant.kriging.case import Kriged
from volforge.tasks.implant.kriging.doubts import Doubt, doubts_of
from volforge.tasks.implant.made import Made
from volforge.tasks.implant.post import Step

WIDE_GAP_PERCENT = 10.0
HIGH_STEP_MM = 1.0
THIN_MM = 2.0
TRIM_MM3 = 50.0

MESH = {
    "not_watertight": "The mesh is not closed: a printer may refuse it.",
    "self_intersecting": "Faces of the mesh cut each other: a printer may refuse it.",
    "not_checked": "Whether faces of the mesh cut each other was not looked at: pymeshlab does not work here.",
    "volume_differs": "The mesh's volume differs from that of the voxels by more than 2 percent.",
}
SCAN = {
    "air_not_in_view": "No air is in view: the scan's values could not be checked against it.",
    "gantry_tilt_resampled": "The slices were tilted and have been resampled.",
    "unit_assumed": "The file does not name its unit; millimetres were assumed.",
    "bone_outside_body": "Much that is as dense as bone lies outside of what was taken for the head, and is left out.",
    "more_removed_than_kept": "More was taken for couch or holder than for the head: look at the skull on the page.",
    "board_cut_off": "A couch or holder that touches the head was cut off: bone may have gone with it.",
    "thin_body": "Only bone and what lies about it was taken for the head.",
    "whole_grid_is_body": "The head's outline could not be told from air.",
    "constant_region_above_air": "Part of the scan is padded with a value that is no air.",
}


def sentences(scan: Scan, found: Kriged, pieces: Pieces, limits: dict[str, float]) -> list[Doubt]:
    """All flags of a case.

    Args:
        scan: What was read.
        found: What was predicted.
        pieces: What was made of it.
        limits: Of doubt, of the model.
    """
    flags = doubts_of(found, limits)
    flags += [_skipped(s) for s in pieces.steps if s.note]
    for number, piece in enumerate(pieces.made, 1):
        whose = f"Implant {number}: " if len(pieces.made) > 1 else ""
        flags += [Doubt(d.code, whose + d.text) for d in _of_piece(piece)]
    if len(pieces.made) > 1:
        text = f"There are {len(pieces.made)} implants: each has a mesh of its own beside the one that holds them all."
        flags.append(Doubt("several_implants", text))
    if scan.metal:
        text = "The scan holds metal (plates, screws, clips): it counts as bone, and its streaks may look like bone."
        flags.append(Doubt("metal", text))
    flags += [Doubt(code, text) for code, text in SCAN.items() if code in scan.flags]
    if not limits:
        flags.append(
            Doubt("no_limits", "The model holds no limits of doubt: whether it knows skulls like this one is not said.")
        )
    return flags


def _skipped(step: Step) -> Doubt:
    return Doubt("step_skipped", f"Post-processing, {step.step}: {step.note}.")


def _of_piece(piece: Made) -> list[Doubt]:
    flags = []
    values = {} if piece.fit is None else piece.fit.values()

    def value(name: str) -> float:
        return values.get(name, math.nan)

    if value("rim_gap_over_1mm_percent") > WIDE_GAP_PERCENT:
        text = (
            f"{value('rim_gap_over_1mm_percent'):.0f} percent of the hole's wall stand more than 1 mm off the implant."
        )
        flags.append(Doubt("gap", text))
    if math.isnan(value("rim_gap_median_mm")):
        flags.append(Doubt("no_wall", "No wall of the hole stands within 8 mm of the implant: its gap is not known."))
    if value("contour_step_outer_p95_mm") > HIGH_STEP_MM:
        text = f"The outer contour steps by up to {value('contour_step_outer_p95_mm'):.1f} mm at the rim."
        flags.append(Doubt("step", text))
    if value("insertion_trim_mm3") > TRIM_MM3:
        text = (
            f"No straight way leads in: even along the best {value('insertion_trim_mm3'):.0f} mm3 of the implant "
            "meet bone and have to be ground off."
        )
        flags.append(Doubt("undercut", text))
    if math.isnan(value("smallest_thickness_mm")):
        flags.append(Doubt("no_thickness", "The implant is too small or too thin for its thickness to be measured."))
    if value("smallest_thickness_mm") < THIN_MM:
        flags.append(Doubt("thin", f"The implant is only {value('smallest_thickness_mm'):.1f} mm thick in places."))
    flags += [_skipped(s) for s in piece.steps if s.note]
    found = () if piece.mesh is None else piece.mesh.flags
    return flags + [Doubt(f, MESH[f]) for f in found if f in MESH]
