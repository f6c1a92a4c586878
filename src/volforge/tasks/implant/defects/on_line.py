"""Defects made while a training needs them: kind, place and size by documented odds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from volforge.cohort.phantoms.fields import stream
from volforge.errors import VolforgeError
from volforge.tasks.implant.defects.draw import Defect, DefectOptions, draw_defect
from volforge.tasks.implant.defects.vault import Vault, vault_of
from volforge.volume.geometry import Affine, Array

KIND_ODDS = {"irregular": 0.5, "burr_box": 0.2, "cuboid": 0.15, "sphere": 0.15}
PLACE_ODDS = {
    "any": 0.4, "frontal": 0.1, "parietal": 0.1, "temporal": 0.1, "vertex": 0.1, "occipital": 0.1, "bilateral": 0.1,
}  # fmt: skip
SIZE_ODDS = {"any": 0.4, "small": 0.15, "medium": 0.25, "large": 0.2}
ON_LINE_DRAWS = 5


def on_line(
    skull: Array, spacing_mm: Sequence[float], affine: Affine, seed: int, index: int, vault: Vault | None = None
) -> Defect:
    """A defect for training, made while it is needed: kind, place and size by `KIND_ODDS`, `PLACE_ODDS`, `SIZE_ODDS`.

    Half of them are irregular, as craniectomies are; three in five lie at a named place, evenly, the others anywhere;
    three in five are of a named size, a fifth of all large, since these are the hard ones.

    Args:
        skull: (X, Y, Z) bool, any axis order, at any spacing to 4 mm.
        spacing_mm: Of its voxels.
        affine: 4x4, voxel index to RAS mm.
        seed: Of the training.
        index: Of the sample: with the seed it decides everything.
        vault: Of this skull, from `vault_of`, where it is kept between samples.

    Returns:
        The defect. Where a combination cannot be had on this skull, another one is drawn, five at most.

    Raises:
        VolforgeError: The spacing is not that of the affine; or no combination gave a defect, with the last one's
            reasons.
    """
    lengths = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if not np.allclose(lengths, spacing_mm, rtol=0.01):
        text = f"a spacing of {tuple(spacing_mm)} mm is not that of the affine, {tuple(np.round(lengths, 4).tolist())}"
        raise VolforgeError(text, remedy="pass the spacing and affine of one grid")
    vault = vault_of(skull, affine) if vault is None else vault
    failed: VolforgeError | None = None
    for draw in range(ON_LINE_DRAWS):
        words = (seed, "on-line", index, draw)
        rng = stream(0, "options", *map(str, words))
        kind, place, size = (_by_odds(rng, odds) for odds in (KIND_ODDS, PLACE_ODDS, SIZE_ODDS))
        options = DefectOptions(kind, place, size, most_tries=10)
        try:
            return draw_defect(skull, affine, options, words, vault)
        except VolforgeError as error:
            failed = error
    assert failed is not None
    raise failed


def _by_odds(rng: np.random.Generator, odds: dict[str, float]) -> str:
    return str(rng.choice(list(odds), p=list(odds.values())))
