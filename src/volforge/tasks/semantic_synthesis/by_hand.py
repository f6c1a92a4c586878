"""A label map of any origin painted by a generator, for `volforge model predict --image`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from volforge import __version__
from volforge.errors import VolforgeError
from volforge.volume.cut_scan import focus_of
from volforge.volume.folders import read_json, record_beside, refuse_record, sha256_of, write_json
from volforge.volume.geometry import Grid
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
from volforge.volume.read import read_canonical
from volforge.volume.restore import write_on_source_grid
from volforge.volume.sources import source_entry
from volforge.whole_file import refuse_places

STAMP = "synthetic image (volforge); not for clinical use"
SCAN = "painted"


def predict_synthesis(
    image: Path,
    weights: Sequence[Path],
    out: Path,
    modality: str,
    unit: str,
    confidence: Path | None = None,
    *,
    device: str = "cpu",
) -> None:
    """Paint one label map, and write the image on its own grid, with a JSON file beside it that says how.

    Args:
        image: A label map with the ids that the generator knows, in any orientation.
        weights: Folder of one generator.
        out: `.nii.gz` to write: int16 HU, or percent where the generator paints MR.
        modality: Not asked for: the generator knows what it paints.
        unit: Must be empty: label maps have none.
        confidence: Must be None: images have no confidence.
        device: `cpu` or `cuda`.

    Raises:
        ScanError: A label map is refused: ids that the generator does not know, say.
        VolforgeError: Several generators, another kind of file, or an empty map.
    """
    from volforge.tasks.semantic_synthesis.latents import latent, latent_hash
    from volforge.tasks.semantic_synthesis.predict import load_generator, painted

    if len(weights) != 1:
        raise VolforgeError("one generator paints a map", str(weights[1]), "name one --weights")
    if not out.name.endswith(".nii.gz"):
        raise VolforgeError("volumes are written as .nii.gz", f"--out {out}", "name such a file")
    if unit or confidence is not None:
        option = "--unit" if unit else "--confidence"
        raise VolforgeError("a label map has no unit, and its image no confidence", option, "leave it out")
    refuse_places({"--out": out, "the record of --out": record_beside(out)}, {"--image": image})
    refuse_record(record_beside(out), "latent_sha256")
    generator = load_generator(weights[0], device)
    settings = generator.settings
    names = {f"{c.structure}_{c.side}" if c.side else c.structure: c.id for c in settings.classes}
    with tempfile.TemporaryDirectory(prefix="volforge-") as scratch:
        folder = Path(scratch) / SCAN
        modality = str(settings.target["modality"])
        request = ScanRequest(SCAN, modality, "arbitrary" if modality == "MR" else "hu", {"labels": image})
        import_scan(request, ImportSettings(structures=names), folder, record_refusal=False)
        record: dict[str, Any] = read_json(folder / "record.json")
        labels, _ = read_canonical(folder / "labels.nii.gz", labels=True)
    if not labels.any():
        raise VolforgeError("nothing is labelled", str(image), "name a label map")
    z = latent(max(1, generator.noise), generator.seed, SCAN, 0)
    focus = focus_of({"labels": labels}, modality)
    values = painted(generator, np.asarray(labels), Grid.of(record["grid"]), z, focus=focus, device=device)
    write_on_source_grid(out, values, record, labels=False, description=STAMP)
    about = {
        "labels": source_entry(image),
        "generator": {k: v for k, v in generator.about.items() if k in ("study", "arm", "model", "sha256", "imported")},
        "latent_sha256": latent_hash(z),
        "sha256": sha256_of(out),
        "unit": "hu" if settings.is_hounsfield else "percent of the window",
        "version": __version__,
    }
    write_json(record_beside(out), about)
