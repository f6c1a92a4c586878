"""How often errors of kriged surfaces lie in their intervals, and which factors would help, in folds of 000-031.

Usage: python -m benchmarks.implant_intervals --data ../shared/data --cache FOLDER [--folds 0 1] [--every 2]

In each fold 24 skulls are learnt from. As at every fit, holes of some of them, their own and drawn ones, are closed by
the whole way from pose to surfaces, with the skull left out of the mean: their errors give the half widths. The other
eight skulls, with their own hole, one in four places and a large one, tell what these are worth. Fits and errors are
kept in the folder, so that another rule costs nothing. 032-039 are not looked at.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from volforge.errors import VolforgeError
from volforge.tasks.implant.by_hand.options import CaseOptions
from volforge.tasks.implant.by_hand.scan import read_scan
from volforge.tasks.implant.defects.draw import DefectOptions, draw_defect
from volforge.tasks.implant.defects.vault import vault_of
from volforge.tasks.implant.kriging.case import krige
from volforge.tasks.implant.kriging.closings import closings, scores_of
from volforge.tasks.implant.kriging.fit import Fitted, KrigedModel, fit, with_gain
from volforge.tasks.implant.kriging.intervals import NORMAL, SURFACES, half_widths
from volforge.tasks.implant.kriging.model import model_from, tensors_of
from volforge.tasks.implant.kriging.settings import KrigingSettings
from volforge.tasks.implant.kriging.trials import calibrated
from volforge.volume.geometry import Array

PLACES = ("frontal", "temporal", "vertex", "occipital")
SKULLS, TESTED = 32, 8
Task = tuple[str, Callable[[], "Closed | None"]]


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


def rules_of(learnt: Sequence[Array], surface: int) -> dict[str, Array]:
    """Half widths at `LEVELS` by rule: as the model has them, one factor that is right at 80 %, one at each level."""
    own = half_widths([scores[surface] for scores in learnt])
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
    scores = scores_of(found, model, whole, affine)
    return Closed(kind, scores) if scores.shape[1] else None


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


def of_learnt(data: Path, model: KrigedModel, maps: Array, used: Sequence[int], folder: Path) -> list[Array]:
    """(2, n) errors of holes of the skulls that a model learnt from, in deviations, as its fit sees them."""
    path = folder / "learnt.npz"
    if not path.exists():
        start = time.perf_counter()
        found = Fitted(model, maps, tuple(range(len(used))), (), ())
        names = [f"skullfix-{number:03d}" for number in used]

        def defective(place: int) -> Array:
            return read(data, "defective_skull", used[place])[0]

        closed = closings(model, found, lambda place: read(data, "complete_skull", used[place]), defective, names, 1)
        np.savez(path, *[scores for one in closed for scores in one.scores])
        print(f"{path}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    with np.load(path) as held:
        return [held[name] for name in held.files]


def of_tested(data: Path, model: KrigedModel, fold: int, every: int) -> Iterator[Task]:
    """Own, four places, large, in every so many of the tested skulls."""
    for number in held_out(fold)[::every]:
        yield f"tested-{number:03d}-own", partial(_own, data, model, number)
        plans = {p: DefectOptions("irregular", p, "medium") for p in PLACES}
        plans["large"] = DefectOptions("irregular", "any", "large")
        for kind, options in plans.items():
            yield f"tested-{number:03d}-{kind}", partial(_drawn, data, model, number, options, kind)


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


def table_of(learnt: Sequence[Sequence[Array]], tested: Sequence[Sequence[Closed]]) -> list[str]:
    """Lines of a table in Markdown: coverage of tested holes by surface, rule and kind, means over all folds' holes.

    Args:
        learnt, tested: By fold, errors of learnt holes (2, n) and tested ones; a fold's rules come from its own.
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
    parser.add_argument("--every", type=int, default=1, help="every so many of the tested skulls of a fold")
    asked = parser.parse_args(arguments)
    learnt, tested = [], []
    for fold in asked.folds:
        folder = asked.cache / f"fold_{fold}"
        folder.mkdir(parents=True, exist_ok=True)
        model, maps, used = fitted(asked.data, fold, asked.cache)
        learnt.append(of_learnt(asked.data, model, maps, used, folder))
        holes = [kept(t, folder) for t in of_tested(asked.data, model, fold, asked.every)]
        tested.append([h for h in holes if h is not None])
    print("\n".join(table_of(learnt, tested)))


if __name__ == "__main__":
    main(sys.argv[1:])
