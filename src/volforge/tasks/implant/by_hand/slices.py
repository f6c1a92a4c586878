"""Three planes through an implant: the scan in grey, the implant tinted, the end of the model's certainty outlined."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np

from volforge.tasks.implant.by_hand.scan import Scan
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Array
from volforge.volume.picture import RGB, plane, render

LONG_EDGE = 620
MARGIN_MM = 12.0
IMPLANT: RGB = (230, 159, 0)
NAMES = ("sagittal", "coronal", "axial")
LEFT = ("the front is on the left", "the patient's right is on the left", "the patient's right is on the left")


@dataclass(frozen=True)
class Slice:
    """One picture.

    Attributes:
        uri: PNG as a data URI.
        size: Width and height in pixels.
        caption: What it shows.
    """

    uri: str
    size: tuple[int, int]
    caption: str


def three_planes(scan: Scan, implant: Array, number: str = "") -> list[Slice]:
    """Sagittal, coronal and axial plane where an implant is largest.

    Args:
        scan: Image and skull.
        implant: (X, Y, Z) bool; not empty.
        number: What the implant is called in captions, such as ` 2`.
    """
    from PIL import Image

    margin = [int(np.ceil(MARGIN_MM / s)) for s in scan.grid.spacing_mm]
    box = bounding_box(scan.skull | implant, (margin[0], margin[1], margin[2]))
    grey, window = (scan.skull, (0.0, 1.5)) if scan.hu is None else (scan.hu, (-300.0, 1500.0))
    made = []
    for axis, (name, left) in enumerate(zip(NAMES, LEFT, strict=True)):
        index = int(np.argmax(np.count_nonzero(implant, axis=tuple(a for a in range(3) if a != axis))))
        view = tuple(slice(index, index + 1) if a == axis else box[a] for a in range(3))
        across, up = (a for a in range(3) if a != axis)
        mm = [(box[a].stop - box[a].start) * scan.grid.spacing_mm[a] for a in (across, up)]
        scale = LONG_EDGE / max(mm)
        size = (max(1, round(mm[1] * scale)), max(1, round(mm[0] * scale)))
        planes = [plane(v[view], axis, 0) for v in (grey, implant)]
        picture = render(
            planes[0].astype(np.float32), window, size, None, planes[1].astype(np.int64), {1: IMPLANT}, 0.65
        )
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "PNG", compress_level=6)
        text = base64.b64encode(stream.getvalue()).decode("ascii")
        caption = f"{name.capitalize()} plane through implant{number} (orange); {left}"
        made.append(Slice(f"data:image/png;base64,{text}", (size[1], size[0]), caption))
    return made
