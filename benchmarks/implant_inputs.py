"""What slice thickness and the threshold of bone do to implants of kriging: the tables of docs/results/implants.md.

Usage: python -m benchmarks.implant_inputs slices|bone --model FOLDER --data ../shared/data --out VALUES.tsv

`slices`: defective skulls of SkullFix on thicker slices, their implants against the true ones on the native grid.
`bone`: whole head CTs, bone at several thresholds, the same drawn holes at all of them. The model is a fitted one
(`volforge implant fit`, or `models/<model>` of a study). A row of VALUES.tsv is one measure of one case.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from volforge.metrics.measure import Measure
from volforge.metrics.segmentation import SegmentationMetrics, boundary_name, measure_structures
from volforge.metrics.statistics import bootstrap_interval
from volforge.tasks.implant.bone import BONE_HU
from volforge.tasks.implant.by_hand.options import MOST_UNSEEN, CaseOptions
from volforge.tasks.implant.by_hand.scan import Scan, read_scan
from volforge.tasks.implant.defects.draw import DefectOptions, draw_defect
from volforge.tasks.implant.defects.vault import vault_of
from volforge.tasks.implant.kriging.case import krige
from volforge.tasks.implant.kriging.fit import KrigedModel
from volforge.tasks.implant.kriging.model import load_kriged
from volforge.tasks.implant.measure import of_nothing
from volforge.volume.geometry import Array, Grid
from volforge.volume.morphology import components

THROUGH_PLANE = 2
TESTED = tuple(f"{n:03d}" for n in range(32, 40))
THICKNESSES_MM = (0.6, 1.0, 1.5, 2.0, 3.0)
THRESHOLDS_HU = (150.0, 200.0, 250.0)
DEFECTS = (DefectOptions("irregular", "any", "medium"), DefectOptions("cuboid", "any"))
NEAR_MM = 10.0
SHOWN = ("dice", boundary_name(NEAR_MM), "hd95_pooled_mm", "volume_error_percent")
COLUMNS = ("subject", "case", "input", "against", "measure", "value")
NATIVE = "native"
Row = tuple[str, str, str, str, str, float]


def shares(count: int, spacing_mm: float, thick_mm: float) -> Array:
    """What share of each thick slice every native slice makes up.

    Args:
        count: Native slices.
        spacing_mm: Their thickness; they lie side by side.
        thick_mm: Of the new slices; the first begins where the first native one begins, the last may reach beyond.

    Returns:
        (thick, native); a row sums to 1, the last one to less where it reaches beyond.
    """
    number = math.ceil(count * spacing_mm / thick_mm - 1e-9)
    low, first = np.arange(number)[:, None] * thick_mm, np.arange(count)[None] * spacing_mm
    both = np.minimum(low + thick_mm, first + spacing_mm) - np.maximum(low, first)
    return np.maximum(both, 0) / thick_mm


def thickened(mask: Array, grid: Grid, thick_mm: float, axis: int = THROUGH_PLANE) -> tuple[Array, Grid]:
    """A mask on thicker slices: means over what each slice covers, cut at one half.

    Args:
        mask: (X, Y, Z) bool; nothing lies beyond it.
        grid: Its grid.
        thick_mm: Of the new slices.
        axis: Along which.

    Returns:
        The mask and its grid; the other two axes are as before.
    """
    spacing = grid.spacing_mm[axis]
    part = shares(mask.shape[axis], spacing, thick_mm)
    planes = np.moveaxis(mask, axis, 0)
    made = np.empty((len(part), *planes.shape[1:]), bool)
    for number, row in enumerate(part):
        used = np.flatnonzero(row)
        made[number] = np.tensordot(row[used].astype(np.float32), planes[used].astype(np.float32), 1) >= 0.5 - 1e-6
    affine = grid.affine.copy()
    affine[:3, axis] *= thick_mm / spacing
    affine[:3, 3] += grid.affine[:3, axis] / spacing * (thick_mm - spacing) / 2
    x, y, z = (len(part) if a == axis else n for a, n in enumerate(grid.shape))
    return np.ascontiguousarray(np.moveaxis(made, 0, axis)), Grid((x, y, z), affine)


def thinned(mask: Array, grid: Grid, thick_mm: float, axis: int = THROUGH_PLANE) -> Array:
    """A mask on thick slices brought back: a native slice takes the thick one that its middle lies in.

    Args:
        mask: On the slices of `thickened`.
        grid: The native grid.
        thick_mm, axis: As there.
    """
    middle = (np.arange(grid.shape[axis]) + 0.5) * grid.spacing_mm[axis]
    at = np.minimum((middle / thick_mm).astype(int), mask.shape[axis] - 1)
    return np.take(mask, at, axis=axis)


def pieces_of(prediction: Array, hole: Array) -> Array:
    """The pieces of a prediction that reach into one hole: a head may have others of its own.

    Args:
        prediction: (X, Y, Z) bool, implants of all holes.
        hole: (X, Y, Z) bool, what was taken away.
    """
    labels, counts = components(prediction, 26)
    kept = np.zeros(len(counts), bool)
    kept[np.unique(labels[hole])] = True
    kept[0] = False
    return kept[labels]


def measured(prediction: Array, reference: Array, skull: Array, spacing: Sequence[float]) -> dict[str, float]:
    """The measures of an implant by name; nothing predicted has an overlap of 0, and no distance.

    Args:
        prediction, reference: (X, Y, Z) bool.
        skull: The defective one, whose neighbourhood is that of the boundary Dice.
        spacing: mm.
    """
    metrics = SegmentationMetrics(boundary_mm=NEAR_MM)
    found = measure_structures(prediction, reference, spacing, {"implant": 1}, metrics, skull)
    overlaps = ("dice", boundary_name(NEAR_MM))
    by_name: dict[str, Measure] = {m.measure: of_nothing(m, overlaps) for m in found}
    return {name: by_name[name].value for name in SHOWN}


def slices_of(folder: Path, number: str, model: KrigedModel) -> Iterator[Row]:
    """One skull of SkullFix: native slices, then thicker ones; and the true implant brought there and back."""
    whole = CaseOptions(modality="mask")
    skull, implant = (read_scan(folder / k / f"{number}.nrrd", whole) for k in ("defective_skull", "implant"))
    grid, reference = skull.grid, implant.skull

    def rows(case: str, shown: str, mask: Array) -> Iterator[Row]:
        for name, value in measured(mask, reference, skull.skull, grid.spacing_mm).items():
            yield number, case, shown, "true implant", name, value

    yield from rows("implant", NATIVE, krige(model, as_bytes(skull.skull), grid.affine, deviation=False).implant)
    for thick in THICKNESSES_MM:
        thicker, own = thickened(skull.skull, grid, thick)
        found = krige(model, as_bytes(thicker), own.affine, deviation=False).implant
        yield from rows("implant", f"{thick:g} mm", thinned(found, grid, thick))
        yield from rows("grid alone", f"{thick:g} mm", thinned(thickened(reference, grid, thick)[0], grid, thick))


def bone_of(ct: Path, subject: str, model: KrigedModel) -> Iterator[Row]:
    """One head: the same holes in its bone at every threshold."""
    skulls: dict[float, Array] = {}
    grid = None
    for hu in THRESHOLDS_HU:
        scan: Scan = read_scan(ct, CaseOptions(modality="CT", bone_hu=hu))
        skulls[hu], grid = scan.skull, scan.grid
        del scan  # its HU
    assert grid is not None
    usual = skulls[BONE_HU]
    vault = vault_of(usual, grid.affine)
    for number, options in enumerate(DEFECTS):
        hole = draw_defect(usual, grid.affine, options, ("implant_inputs", subject, number), vault).mask
        for hu, skull in skulls.items():
            found = krige(model, as_bytes(skull & ~hole), grid.affine, deviation=False, most_unseen=MOST_UNSEEN)
            made = pieces_of(found.implant, hole)
            for against, reference in (("same threshold", hole & skull), ("150 HU", hole)):
                for name, value in measured(made, reference, skull & ~hole, grid.spacing_mm).items():
                    yield subject, f"hole {number}", f"{hu:g} HU", against, name, value


def as_bytes(mask: Array) -> Array:
    """(X, Y, Z) uint8 in C order, as rays are cast through."""
    return np.ascontiguousarray(mask).view(np.uint8)


def heads_of(data: Path) -> dict[str, Path]:
    """Whole head CTs by subject."""
    found = {p.name.removesuffix("_ct.nii.gz"): p for p in sorted((data / "synthrad23_head_ct/ct").glob("*_ct.nii.gz"))}
    return {**found, "VHF": data / "vhf_head_ct/vhf_head_1mm_approxHU.nii.gz"}


def by_subject(rows: Iterable[Row]) -> dict[tuple[str, str, str], dict[str, float]]:
    """Values by (reference, input, measure) and subject; cases of one subject are averaged, without what has no value.

    What is measured of the grid alone stands under the reference `grid alone`.
    """
    listed: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for subject, case, shown, against, measure, value in rows:
        key = ("grid alone" if case == "grid alone" else against, shown, measure)
        listed.setdefault(key, {}).setdefault(subject, []).append(value)
    return {
        key: {s: float(np.mean(kept)) if (kept := [v for v in vs if not math.isnan(v)]) else math.nan
              for s, vs in values.items()}
        for key, values in listed.items()
    }  # fmt: skip


def differences(first: Mapping[str, float], second: Mapping[str, float]) -> Array:
    """Differences of subjects that have both values."""
    both = [first[s] - second[s] for s in first if s in second]
    return np.array([d for d in both if not math.isnan(d)])


def lines_of(rows: Sequence[Row], base: str) -> list[str]:
    """Lines of a table in Markdown: means over subjects, and paired differences from a base with 95 % intervals.

    Args:
        rows: Of all subjects.
        base: The input that others are compared with.
    """
    values = by_subject(rows)
    subjects = len({r[0] for r in rows})
    kinds = list(dict.fromkeys((against, shown) for against, shown, _ in values))
    lines = [f"| against | input | subjects | {' | '.join(SHOWN)} |", "| --- " * (3 + len(SHOWN)) + "|"]
    for against, shown in kinds:
        cells = []
        for measure in SHOWN:
            own, usual = values[against, shown, measure], values.get((against, base, measure))
            kept = np.array([v for v in own.values() if not math.isnan(v)])
            missing = subjects - len(kept)
            text = f"{kept.mean():.3f}" + (f" (n {len(kept)})" if missing else "")
            if usual is not None and shown != base:
                off = differences(own, usual)
                low, high = bootstrap_interval(off)
                text += f", {off.mean():+.3f} ({low:+.3f} to {high:+.3f})"
            cells.append(text)
        lines.append(f"| {against} | {shown} | {subjects} | {' | '.join(cells)} |")
    return lines


def read_rows(path: Path) -> list[Row]:
    """Rows of a file that `main` wrote."""
    with path.open(newline="") as file:
        listed = list(csv.DictReader(file, delimiter="\t"))
    return [(r["subject"], r["case"], r["input"], r["against"], r["measure"], float(r["value"])) for r in listed]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("slices", "bone"))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True, help="rows of subjects that it holds already are kept")
    parser.add_argument("--only", nargs="*", help="subjects, such as 032; all if none is named")
    asked = parser.parse_args(arguments)
    is_slices = asked.part == "slices"
    heads = dict.fromkeys(TESTED, asked.data / "skullfix") if is_slices else heads_of(asked.data)
    done = {row[0] for row in read_rows(asked.out)} if asked.out.exists() else set()
    todo = [s for s in heads if s not in done and (not asked.only or s in asked.only)]
    model = load_kriged(asked.model)[0] if todo else None
    for subject in todo:
        assert model is not None
        start = time.perf_counter()
        cases = (slices_of if is_slices else bone_of)(heads[subject], subject, model)
        append(asked.out, list(cases))
        print(f"{subject}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    print("\n".join(lines_of(read_rows(asked.out), NATIVE if is_slices else f"{BONE_HU:g} HU")))


def append(path: Path, rows: Sequence[Row]) -> None:
    """Add the rows of a subject to a file, which gets its head with the first ones."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerows([COLUMNS, *rows] if is_new else rows)


if __name__ == "__main__":
    main(sys.argv[1:])
