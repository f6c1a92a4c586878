"""A small cohort of heads for tests of translation: balls of soft tissue in a shell of bone, as CT, as MR, or as both."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.conftest import save
from tests.study.cohorts import AFFINE, imported
from volforge.config.models import SliceRecipe
from volforge.config.training import Training
from volforge.tasks.translation.options import TranslationOptions
from volforge.tasks.translation.settings import TranslationSettings
from volforge.volume.cut_scan import cut_scan

SHAPE = (40, 40, 12)
RECIPE = SliceRecipe(kind="slices", spacing_mm=3, size=[16, 16], ct_window={"kind": "hu", "low": -1000, "high": 1400})
MR = {"modality": "MR", "contrast": None}
CT = {"modality": "CT", "contrast": None}
NETWORK = {"name": "resnet_generator", "width": 2, "blocks": 1}
JUDGE = {"name": "patch_discriminator", "width": 2, "layers": 1}


def head(radius: float, seed: int, modality: str = "CT") -> np.ndarray:
    """A ball of 40 HU with a shell of 900 HU and an inner ball of 10 HU; its MR shows bone dark and fluid bright."""
    r = np.hypot(*(np.indices(SHAPE[:2]) - 19.5))[..., None] + 0 * np.arange(SHAPE[2])
    noise = np.random.default_rng(seed).normal(0, 1, SHAPE)
    parts = [r > radius, r > radius - 3, r > 4, r <= 4]
    if modality == "CT":
        return np.rint(np.select(parts, [-1000.0, 900.0, 40.0, 10.0]) + (r <= radius) * 5 * noise).astype(np.int16)
    return np.clip(np.select(parts, [0.0, 60.0, 300.0, 700.0]) + (r <= radius) * 10 * noise, 0, None).astype(np.int16)


def chest(radius: float, seed: int, modality: str = "CT") -> np.ndarray:
    """Such a ball with two lungs of -850 HU, dark in MR; `lungs_of` tells where."""
    values = head(radius, seed, modality)
    return np.where(lungs_of(radius), np.int16(-850 if modality == "CT" else 10), values).astype(np.int16)


def lungs_of(radius: float) -> np.ndarray:
    """Boolean, the two lungs of `chest`."""
    x, y, z = (a - (n - 1) / 2 for a, n in zip(np.indices(SHAPE), SHAPE, strict=True))
    sides = [np.hypot((x - side * radius * 0.4) / 0.8, y) < radius * 0.3 for side in (-1, 1)]
    return (sides[0] | sides[1]) & (np.abs(z) < SHAPE[2])


def cohort(folder: Path, draw: Callable[[float, int, str], np.ndarray] = head) -> Path:
    """MR alone (p0 to p2), CT alone (p3 to p5), both of one frame: p6 val, p7 and p8 test, p9 to p11 train."""
    lines = ["subject\tscan\tmodality\tunit\tframe\timage\tsplit"]
    for i in range(12):
        split = "val" if i == 6 else "test" if i in (7, 8) else "train"
        for modality in ("MR", "CT"):
            if (i < 3 and modality == "CT") or (2 < i < 6 and modality == "MR"):
                continue
            name = f"s{i}-{modality.lower()}"
            save(folder / f"{name}.nii.gz", draw(13 + i % 4, i, modality), AFFINE)
            unit = "hu" if modality == "CT" else "arbitrary"
            frame = f"f{i}" if i > 5 else ""
            lines.append(f"p{i}\t{name}\t{modality}\t{unit}\t{frame}\t{name}.nii.gz\t{split}")
    found = imported(folder, lines, {})
    for scan in (found.parent / "scans").iterdir():
        cut_scan(scan, RECIPE, found.parent / "recipes" / "slices" / scan.name)
    return found


def settings(kind="translation", training=None, network=None, needs=(), **own) -> TranslationSettings:
    """Settings of a small model; keywords are those of `translation`."""
    given = {"discriminator": JUDGE} | own if own.get("method", "painted") != "painted" else own
    options = TranslationOptions(**given)
    plan = {"steps": 4, "batch": 2, "validate_every": 2, "flip": ["x"], "validation": 0.1} | (training or {})
    return TranslationSettings.of(
        {
            "study": "s", "arm": "a", "model": "axial", "cohort": "c", "by_fold": False, "kind": kind,
            "recipe": "slices", "recipe_settings": json.loads(RECIPE.model_dump_json()), "source": MR, "target": CT,
            "also": options.also, "context": options.context, "network": network or NETWORK,
            "translation": options.plain(), "training": Training(**plan).model_dump(), "needs": list(needs),
            "task": "translation", "entry": "volforge.tasks.translation.train:train",
        }
    )  # fmt: skip
