"""The page of one skull: what to know first, three planes, surfaces to turn, numbers and what they mean."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from volforge.pages.parts import environment, turning_library
from volforge.shape.mesh import Mesh
from volforge.tasks.implant.by_hand.slices import Slice
from volforge.tasks.implant.kriging.doubts import Doubt
from volforge.volume.geometry import Array

MAPS = {
    "gap_mm": ("gap", 0.0, 2.0, "Viridis", "distance of the hole's wall, shown within 4 mm of the rim"),
    "step_mm": (
        "contour step",
        -2.0,
        2.0,
        "RdBu",
        "implant above (red) or below (blue) the bone beside it, at the rim",
    ),
    "thickness_mm": ("thickness", 0.0, 10.0, "Viridis", "largest sphere that fits into the implant there"),
    "uncertainty_mm": ("uncertainty", 0.0, 3.0, "Plasma", "half width of its interval of 68 %, by the model"),
}
NUMBERS = {
    "rim_gap_median_mm": ("Rim gap, median", "mm", "distance of the hole's wall from the implant"),
    "rim_gap_p95_mm": ("Rim gap, 95th percentile", "mm", "what 95 percent of the wall stay below"),
    "rim_gap_over_1mm_percent": ("Wall more than 1 mm off", "%", "share of the hole's wall"),
    "contour_step_outer_mm": (
        "Step of the outer contour",
        "mm",
        "median height of the implant above the bone beside it",
    ),
    "contour_step_outer_p95_mm": ("... 95th percentile of its size", "mm", "what is seen and felt under the skin"),
    "contour_step_inner_mm": (
        "Step of the inner contour",
        "mm",
        "median; above 0: the implant's inner side lies further out",
    ),
    "contour_step_inner_p95_mm": ("... 95th percentile of its size", "mm", "towards the dura"),
    "insertion_trim_mm3": ("To be trimmed", "mm3", "volume that meets bone on the best straight way in"),
    "insertion_angle_deg": ("Way in", "degrees", "angle of that way to the mean normal of the implant"),
    "thickness_p5_mm": ("Thickness, 5th percentile", "mm", "edges left out"),
    "smallest_thickness_mm": ("Smallest thickness", "mm", "edges left out"),
}


@dataclass(frozen=True)
class Surface:
    """A surface to turn.

    Attributes:
        name: What it is called.
        mesh: RAS mm.
        maps: Values of vertices by name of `MAPS`; empty: it has one colour.
    """

    name: str
    mesh: Mesh
    maps: Mapping[str, Array]


def page_of(
    title: str, report: Mapping[str, Any], flags: Sequence[Doubt], slices: Sequence[Slice], surfaces: Sequence[Surface]
) -> str:
    """The text of the page; it needs no network.

    Args:
        title: Of the page.
        report: Content of report.json.
        flags: Sentences.
        slices: Pictures.
        surfaces: The first is the skull.
    """
    view = {
        "surfaces": [_packed(s) for s in surfaces],
        "maps": {k: {"title": f"{t}, mm", "low": lo, "high": hi, "scale": c} for k, (t, lo, hi, c, _) in MAPS.items()},
    }
    template = environment(Path(__file__).parent / "templates").get_template("case.html")
    return template.render(
        title=title,
        report=report,
        flags=flags,
        slices=slices,
        numbers=NUMBERS,
        maps=MAPS,
        view=json.dumps(view, separators=(",", ":")).replace("<", "\\u003c"),
        plotly=turning_library(),
    )


def _packed(surface: Surface) -> dict[str, Any]:
    middle = surface.mesh.vertices.mean(axis=0) if len(surface.mesh.vertices) else np.zeros(3)
    return {
        "name": surface.name,
        "vertices": _text(surface.mesh.vertices, "<f4"),
        "faces": _text(surface.mesh.faces, "<u4"),
        "maps": {name: _text(values, "<f4") for name, values in surface.maps.items()},
        "middle": [round(float(v), 2) for v in middle],
    }


def _text(values: Array, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")
