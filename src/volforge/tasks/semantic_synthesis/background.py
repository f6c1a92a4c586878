"""The background before and after its removal: at the cohort's import, and by the published rule of recipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from volforge.config.models import SliceRecipe
from volforge.study.cases import Cohort, of_modality
from volforge.study.strips import Strip
from volforge.volume.background_picture import FILE, background_columns, read_background
from volforge.volume.cut import AXES, from_stack, legacy_slices, slice_placement, take, to_stack
from volforge.volume.cut_scan import outside_of
from volforge.volume.geometry import Array, Grid
from volforge.volume.picture import grey_range

OF_COHORT = "The background of the cohort {cohort}, before and after its removal"
OF_RECIPE = "The background by the published rule, recipe {recipe}"
CAPTION = "{scan}, axial slices, the body that was found outlined; outside of it all is air."
LEGACY = (
    "{scan}, axial slices. Each is stretched by its own darkest and brightest pixel; parts of over 1000 pixels above "
    "45 of 255 stay, all else is black: lungs and bowel gas too."
)


def background_strips(
    cohort: Cohort, name: str, target: Mapping[str, str | None], recipes: Mapping[str, Mapping[str, Any]]
) -> list[tuple[Strip, Array]]:
    """Columns of the first scan of the target that shows something: as it came, and without its background.

    Args:
        cohort: The cohort.
        name: Its name, for the title.
        target: Modality and contrast.
        recipes: Recipes by the published rule, as their settings.
    """
    scans = [r["scan"] for r in of_modality(cohort.rows, target) if cohort.has(r["scan"], "image")]
    found = []
    for scan in scans:
        both = read_background(cohort.scans.parent / "scans" / scan / FILE)
        if both is not None:
            title, caption = OF_COHORT.format(cohort=name), CAPTION.format(scan=scan)
            found += _columns("background", title, caption, both)
            break
    for recipe, settings in recipes.items() if scans else ():
        both = _by_rule(cohort, scans[0], SliceRecipe(**settings))
        found += _columns(f"rule_{recipe}", OF_RECIPE.format(recipe=recipe), LEGACY.format(scan=scans[0]), both)
    return found


def _columns(stem: str, title: str, caption: str, both: tuple[Array, Array]) -> list[tuple[Strip, Array]]:
    """They stand once beside all arms, since no arm has a part in them."""
    before, after = both
    return [
        (Strip(f"{stem}_before.png", "first", "as it came", title, caption), before),
        (Strip(f"{stem}_after.png", "last", "background removed", title, caption), after),
    ]


def _by_rule(cohort: Cohort, scan: str, recipe: SliceRecipe) -> tuple[Array, Array]:
    """The imported scan as the recipe cuts it, and what the published rule leaves."""
    record, image = cohort.record(scan), cohort.read(scan, "image")
    body = cohort.body(scan, image.shape) if cohort.has(scan, "body") else None
    grid = Grid.of(record["grid"])
    placement = slice_placement(grid, recipe, body)
    cut = take(image, grid, placement, outside=outside_of(record, image), kind="image")
    axis = AXES[recipe.axis]
    after = np.asarray(from_stack(legacy_slices(to_stack(cut, axis)), axis))
    grey = grey_range(cut, "CT" if record["unit"] == "hu" else "MR")
    return background_columns(cut, after, None, placement.grid.spacing_mm, grey, (0.0, 255.0))
