"""Colours of structures in the pictures of a study."""

from __future__ import annotations

from volforge.study.cases import Cohort
from volforge.tables.structures import default_colour
from volforge.volume.folders import read_json
from volforge.volume.picture import RGB, hex_to_rgb


def colours_of(cohort: Cohort) -> dict[int, RGB]:
    """RGB by id, as the cohort's settings.json has them."""
    content = read_json(cohort.scans.parent / "settings.json")
    named = {content["structures"][n]: hex_to_rgb(c) for n, c in content["colours"].items() if c}
    return {i: hex_to_rgb(default_colour(i)) for i in range(1, 256)} | named
