"""What the parts of kriging are worth: the table of docs/results/implants.md.

Usage: python -m benchmarks.implant_ablation --data ../shared/data --cache FOLDER --out VALUES.tsv [--folds 0 3]

The arms of config/examples/skullfix_ablation.yaml, on folds of 000-031 as in `implant_intervals`, whose fits it shares:
template and surfaces of a fold are found once, mean and covariance anew for each arm. Every tested skull is closed with
its own hole and with a large one. A study fits every arm from its skulls on, which costs twice as much; `skulls_*` find
their own template there too. 032-039 are not looked at. A row of VALUES.tsv is one measure of one hole.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.implant_inputs import Row, append, as_bytes, lines_of, measured, read_rows
from benchmarks.implant_intervals import SKULLS, TESTED, fitted, held_out, read, without_defect
from volforge.cohort.splits import rank
from volforge.tasks.implant.defects.draw import DefectOptions
from volforge.tasks.implant.kriging.case import krige
from volforge.tasks.implant.kriging.fit import KrigedModel, model_of
from volforge.tasks.implant.kriging.pose import Template
from volforge.tasks.implant.kriging.settings import KrigingSettings
from volforge.volume.geometry import Array

BASE = "volforge"
ARMS: Mapping[str, Mapping[str, Any]] = {
    BASE: {},
    "plain_kernel": {"symmetric": False},
    "by_evidence": {"evidence": True},
    "offset_1mm": {"offset_mm": 1.0},
    "one_pass": {"passes": {"count": 1}},
    "two_passes": {"passes": {"count": 2}},
    "skulls_4": {"skulls": 4},
    "skulls_8": {"skulls": 8},
    "skulls_16": {"skulls": 16},
}
LARGE = DefectOptions("irregular", "any", "large")


def model_of_arm(maps: Array, used: Sequence[int], template: Template, settings: KrigingSettings) -> KrigedModel:
    """The model of an arm, from surfaces of the skulls of a fold.

    Args:
        maps: (n, 2, N, N) surfaces in their poses.
        used: Numbers of those skulls; the first by rank are kept where an arm asks for fewer.
        template: They were laid onto.
        settings: Of the arm.
    """
    kept = set(rank({f"{n:03d}" for n in used}, 0, "skulls")[: settings.skulls])
    places = [place for place, number in enumerate(used) if f"{number:03d}" in kept]
    return model_of(maps[places], template, settings)


def holes_of(data: Path, number: int) -> Iterator[tuple[str, Array, Array, Array]]:
    """Kind, complete skull, defective skull, affine of the holes of a tested skull."""
    whole, affine = read(data, "complete_skull", number)
    yield "own", whole, read(data, "defective_skull", number)[0], affine
    large = without_defect(whole, affine, LARGE, ("intervals", number, "large"))
    if large is not None:
        yield "large", whole, large, affine


def rows_of(data: Path, models: Mapping[str, KrigedModel], number: int) -> Iterator[Row]:
    """All measures of all arms on a tested skull."""
    for kind, whole, holed, affine in holes_of(data, number):
        reference = (whole > 0) & ~(holed > 0)
        spacing = [float(s) for s in (affine[:3, :3] ** 2).sum(axis=0) ** 0.5]
        for arm, model in models.items():
            found = krige(model, as_bytes(holed > 0), affine, deviation=False).implant
            for name, value in measured(found, reference, holed > 0, spacing).items():
                yield f"{number:03d}", kind, arm, kind, name, value


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, required=True, help="that of implant_intervals")
    parser.add_argument("--out", type=Path, required=True, help="rows of subjects that it holds already are kept")
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 3], choices=range(SKULLS // TESTED))
    asked = parser.parse_args(arguments)
    done = {row[0] for row in read_rows(asked.out)} if asked.out.exists() else set()
    for fold in asked.folds:
        todo = [n for n in held_out(fold) if f"{n:03d}" not in done]
        if not todo:
            continue
        model, maps, used = fitted(asked.data, fold, asked.cache)
        models = {}
        for arm, changed in ARMS.items():
            start = time.perf_counter()
            settings = KrigingSettings.of({"calibrated": False, "closed": 0, **changed})
            models[arm] = model_of_arm(maps, used, model.template, settings)
            print(f"fold {fold}, {arm}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        for number in todo:
            start = time.perf_counter()
            append(asked.out, list(rows_of(asked.data, models, number)))
            print(f"{number:03d}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    print("\n".join(lines_of(read_rows(asked.out), BASE)))


if __name__ == "__main__":
    main(sys.argv[1:])
