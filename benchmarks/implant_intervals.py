"""How often errors of kriged surfaces lie in their intervals, and which factors would help, in folds of 000-031.

Usage: python -m benchmarks.implant_intervals --data ../shared/data --cache FOLDER [--folds 0 1] [--every 2]

In each fold 24 skulls are learnt from. Holes of the four generators are drawn in each of them, in voxels, and closed
by the whole way from pose to surfaces, with the skull left out of the mean: their errors give the factors. The other
eight skulls, with their own hole, one in four places and a large one, tell what these are worth. Fits and errors are
kept in the folder, so that another rule costs nothing. 032-039 are not looked at.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from volforge.errors import VolforgeError
from volforge.tasks.implant.by_hand.options import CaseOptions
from volforge.tasks.implant.by_hand.scan import read_scan
from volforge.tasks.implant.defects.draw import DefectOptions, draw_defect
from volforge.tasks.implant.defects.shapes import KINDS
from volforge.tasks.implant.defects.vault import vault_of
from volforge.tasks.implant.kriging.case import krige
from volforge.tasks.implant.kriging.fit import KrigedModel, fit, with_gain, without
from volforge.tasks.implant.kriging.imputed import observed
from volforge.tasks.implant.kriging.model import model_from, tensors_of
from volforge.tasks.implant.kriging.settings import KrigingSettings
from volforge.tasks.implant.kriging.trials import calibrated
from volforge.volume.geometry import Array

LEVELS = (0.5, 0.8, 0.95)
SURFACES = ("inner", "outer")
PLACES = ("frontal", "temporal", "vertex", "occipital")
SKULLS, TESTED = 32, 8
Task = tuple[str, Callable[[], "Closed | None"]]
NORMAL = np.asarray(ndtri((1 + np.array(LEVELS)) / 2))
"""Half widths of the intervals in standard deviations, if errors were normal."""


@dataclass(frozen=True)
class Closed:
    """One hole that was closed.

    Attributes:
        kind: Of hole.
        scores: (2, n) errors of both surfaces in the hole, in predicted standard deviations, without sign.
    """

    kind: str
    scores: Array


def held_out(fold: int) -> list[int]:
    """Skulls that a fold tests."""
    first = SKULLS - TESTED * (fold + 1)
    return list(range(first, first + TESTED))


def coverage(closed: Sequence[Closed], surface: int, half_widths: Array) -> Array:
    """Share of the errors inside intervals, mean over holes.

    Args:
        closed: At least one.
        surface: 0 inner, 1 outer.
        half_widths: (L,) of the intervals, in standard deviations.
    """
    inside = [(hole.scores[surface][:, None] <= half_widths).mean(axis=0) for hole in closed]
    return np.asarray(np.mean(inside, axis=0))


def half_widths(closed: Sequence[Closed], surface: int, levels: Sequence[float] = LEVELS) -> Array:
    """Half widths of intervals that hold these shares of errors, in standard deviations; every hole weighs the same.

    Args:
        closed: At least one.
        surface: 0 inner, 1 outer.
        levels: Shares, 0 to 1.
    """
    scores = np.concatenate([hole.scores[surface] for hole in closed])
    weights = np.concatenate([np.full(hole.scores.shape[1], 1 / hole.scores.shape[1]) for hole in closed])
    order = np.argsort(scores, kind="stable")
    share = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    return np.interp(levels, share, scores[order])


def rules_of(learnt: Sequence[Closed], surface: int) -> dict[str, Array]:
    """Half widths at `LEVELS` by rule: as the model has them, one factor that is right at 80 %, one at each level."""
    own = half_widths(learnt, surface)
    return {"normal": NORMAL, "one factor": NORMAL * own[1] / NORMAL[1], "by level": own}


def closed_hole(model: KrigedModel, whole: Array, holed: Array, affine: Array, kind: str) -> Closed | None:
    """Close a hole; None where none was found.

    Args:
        model: Fitted, with its variances.
        whole, holed: (X, Y, Z) uint8, the complete and the defective skull.
        affine: Of both.
        kind: Of hole.
    """
    found = krige(model, holed, affine)
    if found.maps is None:
        return None
    truth = observed(whole, affine, found.registered.pose, model.field).radii
    hole = np.logical_or.reduce([h.pixels for h in found.holes])
    looked = hole & np.isfinite(truth).all(axis=0)
    if not looked.any():
        return None
    error = np.abs(found.maps.maps - truth)[:, looked]
    return Closed(kind, (error / np.maximum(found.maps.deviation[:, looked], 1e-3)).astype(np.float32))


def read(data: Path, kind: str, number: int) -> tuple[Array, Array]:
    """(X, Y, Z) uint8 of a volume of SkullFix, and its affine."""
    scan = read_scan(data / "skullfix" / kind / f"{number:03d}.nrrd", CaseOptions(modality="mask"))
    return np.ascontiguousarray(scan.skull).view(np.uint8), scan.grid.affine


def fitted(data: Path, fold: int, cache: Path) -> tuple[KrigedModel, Array, list[int]]:
    """Model of a fold with its variances, surfaces of the skulls it learnt from, and their numbers; from the cache."""
    path = cache / f"fit_{fold}.npz"
    settings = KrigingSettings()
    if not path.exists():
        learnt = [n for n in range(SKULLS) if n not in held_out(fold)]
        found = fit(len(learnt), lambda n: read(data, "complete_skull", learnt[n]), settings)
        model, _ = calibrated(found.model, found.maps)
        used = [learnt[n] for n in found.used]
        arrays = {"maps": found.maps, "used": np.array(used), **tensors_of(model)}
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    with np.load(path) as held:
        arrays = dict(held)
    gain = arrays["gain"]
    model = with_gain(model_from(arrays, settings), (float(gain[0]), float(gain[1])))
    return model, arrays["maps"], [int(n) for n in arrays["used"]]


def without_defect(whole: Array, affine: Array, options: DefectOptions, words: Sequence[str | int]) -> Array | None:
    """A skull with a drawn hole; None where none could be drawn."""
    try:
        hole = draw_defect(whole > 0, affine, options, words, vault_of(whole > 0, affine)).mask
    except VolforgeError:
        return None
    return np.ascontiguousarray((whole > 0) & ~hole).view(np.uint8)


def of_learnt(data: Path, model: KrigedModel, maps: Array, used: Sequence[int], every: int) -> Iterator[Task]:
    """Holes of the four generators in turn, in every so many of the skulls."""
    for place in range(0, len(used), every):
        number = used[place]
        kind = KINDS[(place // every) % len(KINDS)]
        yield f"learnt-{number:03d}-{kind}", partial(_left_out, data, model, maps, place, number, kind)


def of_tested(data: Path, model: KrigedModel, fold: int, every: int) -> Iterator[Task]:
    """Own, four places, large, in every so many of the tested skulls."""
    for number in held_out(fold)[::every]:
        yield f"tested-{number:03d}-own", partial(_own, data, model, number)
        plans = {p: DefectOptions("irregular", p, "medium") for p in PLACES}
        plans["large"] = DefectOptions("irregular", "any", "large")
        for kind, options in plans.items():
            yield f"tested-{number:03d}-{kind}", partial(_drawn, data, model, number, options, kind)


def _left_out(data: Path, model: KrigedModel, maps: Array, place: int, number: int, kind: str) -> Closed | None:
    own = replace(model, field=without(maps, place, model))
    return _drawn(data, own, number, DefectOptions(kind), kind)


def _own(data: Path, model: KrigedModel, number: int) -> Closed | None:
    whole, affine = read(data, "complete_skull", number)
    return closed_hole(model, whole, read(data, "defective_skull", number)[0], affine, "own")


def _drawn(data: Path, model: KrigedModel, number: int, options: DefectOptions, kind: str) -> Closed | None:
    whole, affine = read(data, "complete_skull", number)
    holed = without_defect(whole, affine, options, ("intervals", number, kind))
    return None if holed is None else closed_hole(model, whole, holed, affine, kind)


def kept(task: Task, folder: Path) -> Closed | None:
    """What a task gives, from its file where it was done before."""
    name, work = task
    path = folder / f"{name}.npy"
    if not path.exists():
        start = time.perf_counter()
        found = work()
        np.save(path, np.zeros((2, 0), np.float32) if found is None else found.scores)
        print(f"{path.stem}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    scores = np.load(path)
    return Closed(name.split("-", 2)[2], scores) if scores.shape[1] else None


def table_of(learnt: Sequence[Sequence[Closed]], tested: Sequence[Sequence[Closed]]) -> list[str]:
    """Lines of a table in Markdown: coverage of tested holes by surface, rule and kind, means over all folds' holes.

    Args:
        learnt, tested: By fold; a fold's rules come from its own learnt holes.
    """
    lines = ["| surface | rule | factors | all | kinds |", "| --- | --- | --- | --- | --- |"]
    for surface, name in enumerate(SURFACES):
        rules = [rules_of(holes, surface) for holes in learnt]
        for rule in rules[0]:
            by_kind: dict[str, list[Array]] = {}
            for widths, holes in zip(rules, tested, strict=True):
                for hole in holes:
                    by_kind.setdefault(hole.kind, []).append(coverage([hole], surface, widths[rule]))
            every = np.mean([c for found in by_kind.values() for c in found], axis=0)
            factors = np.mean([widths[rule] / NORMAL for widths in rules], axis=0)
            kinds = "; ".join(f"{k} ({len(v)}) {_text(np.mean(v, axis=0))}" for k, v in by_kind.items())
            lines.append(f"| {name} | {rule} | {_text(factors)} | {_text(every)} | {kinds} |")
    return lines


def _text(values: Array) -> str:
    return " ".join(f"{v:.2f}" for v in values)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1], choices=range(SKULLS // TESTED))
    parser.add_argument("--every", type=int, default=1, help="every so many of the skulls of a fold")
    asked = parser.parse_args(arguments)
    learnt, tested = [], []
    for fold in asked.folds:
        folder = asked.cache / f"fold_{fold}"
        folder.mkdir(parents=True, exist_ok=True)
        model, maps, used = fitted(asked.data, fold, asked.cache)
        holes = [kept(t, folder) for t in of_learnt(asked.data, model, maps, used, asked.every)]
        learnt.append([h for h in holes if h is not None])
        holes = [kept(t, folder) for t in of_tested(asked.data, model, fold, asked.every)]
        tested.append([h for h in holes if h is not None])
    print("\n".join(table_of(learnt, tested)))


if __name__ == "__main__":
    main(sys.argv[1:])
