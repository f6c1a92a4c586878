"""Distribution measures of two folders of pictures or volumes, without a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from volforge.by_hand.measure import VOLUMES, check_range
from volforge.errors import VolforgeError
from volforge.metrics.measure import Measure
from volforge.volume.geometry import Array, reorientation_of
from volforge.volume.read import read_volume, suffix_of
from volforge.volume.source_volume import scaled

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def slices_of(folder: Path, window: Sequence[float]) -> tuple[list[Array], list[str]]:
    """Slices of a folder, one stack per file: pictures as they are, volumes as axial slices of a window.

    Args:
        folder: Pictures (0 to 255 become 0 to 1) or volumes.
        window: Values of volumes that become 0 and 1.

    Returns:
        Stacks of slices (N, S, S), and the file of each.

    Raises:
        VolforgeError: Nothing readable.
    """
    from volforge.metrics.features import axial_slices

    check_range(*window)
    if not folder.exists():
        raise VolforgeError("not found", str(folder), "check the path")
    files = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else [folder]
    stacks: list[Array] = []
    names: list[str] = []
    for path in files:
        if path.suffix.lower() in PICTURES:
            stacks.append(_picture(path)[None])
        elif suffix_of(path) in VOLUMES:
            volume = read_volume(path, labels=False)
            values = reorientation_of(volume.grid.affine).apply(scaled(volume))
            if not np.isfinite(values).all():
                raise VolforgeError(
                    "the volume holds values that are not finite", str(path), "mend it, or take it away"
                )
            # slices without anything in the window say nothing
            stacks.append(axial_slices(values, values > window[0] + 0.05 * (window[1] - window[0]), window))
        else:
            continue
        names.append(path.stem)
    if not any(len(s) for s in stacks):
        raise VolforgeError("no pictures and no volumes", str(folder), "give a folder of PNG or of NIfTI files")
    return stacks, names


def _picture(path: Path) -> Array:
    from PIL import Image

    try:
        image = Image.open(path)
        image.load()
    except OSError as error:
        raise VolforgeError(f"not a picture: {error}", str(path), "take it away, or save it anew") from error
    if image.mode in ("I", "F"):
        raise VolforgeError(
            f"pixels of 32 bit (mode {image.mode}) have no known range", str(path), "save 8 or 16 bit grey, or a volume"
        )
    if image.mode.startswith("I;16"):
        grey = np.asarray(image, np.float32) / 65535
    else:
        grey = np.asarray(image.convert("L"), np.float32) / 255
    side = max(grey.shape)
    square = np.zeros((side, side), np.float32)
    y, x = ((side - n) // 2 for n in grey.shape)
    square[y : y + grey.shape[0], x : x + grey.shape[1]] = grey
    return square


def distribution(
    synthetic: Path, real: Path, network: str, window: Sequence[float], seed: int
) -> tuple[list[Measure], str]:
    """Distribution measures of two folders.

    Args:
        synthetic: Folder of synthetic pictures or volumes.
        real: Folder of real ones.
        network: `inception`, or weights.safetensors of a slice encoder.
        window: Window of volumes.
        seed: Of subsets and halves.

    Returns:
        Measures, and the network with its hash.
    """
    check_range(*window)
    from volforge import weights
    from volforge.judging.distribution import measure_distribution, one_size, subject_numbers
    from volforge.metrics import features
    from volforge.metrics.features import FeatureNetwork

    if network == "inception":
        path = weights.find("inception")
        if path is None:
            raise VolforgeError(
                "the weights of Inception are not here",
                remedy="run `volforge weights fetch inception`, or name an encoder",
            )
        chosen: FeatureNetwork = features.inception(path)
    else:
        if not Path(network).is_file():
            raise VolforgeError("file not found", network, "`inception`, or weights.safetensors of a slice encoder")
        chosen = features.slice_encoder(Path(network))
    made, _ = slices_of(synthetic, window)
    true, names = slices_of(real, window)
    numbers = subject_numbers(names, [len(t) for t in true])
    found = measure_distribution(chosen, one_size(made), lambda: (one_size(true), numbers), None, None, seed)
    return found, f"{chosen.name}, SHA-256 {chosen.sha256}"
