"""How an answer converges: a validation skull at every validation of a training, and all of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from volforge.study.pictures import FOLDER, Shown, write_pictures
from volforge.volume.boxes import foreground_box, grown
from volforge.volume.geometry import Array
from volforge.volume.picture import GAP, contact_sheet, plane, render

TILE = 130
MOST = 8
LABEL = 14
NAME = "progress"
CAPTION = (
    "model {model}, the first validation skull after {steps} steps, in a sagittal, coronal and axial plane through "
    "the true implant. White is what the network gives (the boundary at half grey), blue the skull, orange the outline "
    "of the truth."
)


def progress_tile(p: Array, defective: Array, wanted: Array, spacing: tuple[float, float, float], step: int) -> Array:
    """One column: the step, and three planes through the middle of what is wanted.

    Args:
        p: (X, Y, Z) probability of the target.
        defective: Bone, boolean or shares of voxels.
        wanted: The true implant, boolean.
        spacing: Voxel size in mm.
        step: Steps that were made.

    Returns:
        (rows, columns, 3) uint8.
    """
    box = foreground_box((np.asarray(defective) >= 0.5) | wanted)
    box = grown(box, [1, 1, 1], wanted.shape) if box is not None else tuple(slice(0, n) for n in wanted.shape)
    parts = [np.asarray(v)[box] for v in (p, defective, wanted)]
    places = np.argwhere(parts[2])
    middle = places.mean(axis=0) if len(places) else np.array(parts[2].shape) / 2
    tiles = [_number(step)]
    for axis in range(3):
        shown, bone, truth = (plane(v, axis, int(middle[axis])) for v in parts)
        across, up = (n * s for k, (n, s) in enumerate(zip(parts[2].shape, spacing, strict=True)) if k != axis)
        scale = TILE / max(across, up)
        size = max(1, round(up * scale)), max(1, round(across * scale))
        labels = (bone >= 0.5).astype(np.int64)
        picture = render(shown, (0.0, 1.0), size, truth, labels, {1: (60, 110, 170)}, 0.6)
        square = np.zeros((TILE, TILE, 3), np.uint8)
        top, left = (TILE - size[0]) // 2, (TILE - size[1]) // 2
        square[top : top + size[0], left : left + size[1]] = picture
        tiles.append(square)
    return np.concatenate([np.pad(t, ((0, GAP), (0, 0), (0, 0))) for t in tiles])[:-GAP]


def _number(step: int) -> Array:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (TILE, LABEL))
    ImageDraw.Draw(image).text((2, 1), f"step {step}", fill=(255, 255, 255))
    return np.asarray(image)


class Progress:
    """Keeps a picture of every validation beside the checkpoints, where a training that goes on finds them.

    Args:
        checkpoints: Folder of the training's checkpoints.
    """

    def __init__(self, checkpoints: Path):
        self.folder = checkpoints / NAME

    def keep(self, step: int, p: Array, defective: Array, wanted: Array, spacing: tuple[float, float, float]) -> None:
        """Write `<step>.png`."""
        from PIL import Image

        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = self.folder / f"{step}.part"
        Image.fromarray(progress_tile(p, defective, wanted, spacing, step)).save(scratch, "PNG")
        scratch.replace(self.folder / f"{step}.png")

    def leave(self, model: Path, name: str, steps: Sequence[int]) -> None:
        """Put the pictures of these steps, and some of them as a strip, into the folder of a model.

        Args:
            model: Its folder.
            name: The model, for the caption.
            steps: Those of its history; what other trainings left in the folder of checkpoints is none of it.
        """
        from PIL import Image

        files = {s: self.folder / f"{s}.png" for s in steps}
        found = {s: f for s, f in files.items() if f.exists()}
        if not found:
            return
        out = model / FOLDER
        (out / NAME).mkdir(parents=True)
        for step, file in found.items():
            (out / NAME / f"{step}.png").write_bytes(file.read_bytes())
        chosen = [list(found)[k] for k in spread_over(len(found), MOST)]
        tiles = [np.asarray(Image.open(found[s]).convert("RGB")) for s in chosen]
        Image.fromarray(contact_sheet(tiles, len(tiles), 2 * GAP)).save(out / f"{NAME}.png")
        caption = CAPTION.format(model=name, steps=", ".join(map(str, chosen)))
        write_pictures(out, [Shown(f"{NAME}.png", "Convergence", caption)])


def spread_over(count: int, most: int) -> list[int]:
    """At most so many of the numbers below `count`, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]
