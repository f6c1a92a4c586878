"""`volforge implant features`: contact sheets, projections, scores and their stability, of models and skulls."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volforge.cohort.collect import as_tsv
from volforge.errors import VolforgeError
from volforge.metrics.measure import number
from volforge.study.cases import Cohort
from volforge.volume.folders import whole_folder
from volforge.whole_file import write_whole

if TYPE_CHECKING:
    from volforge.tasks.implant.features.case import CaseFeatures

SCORE_COLUMNS = ("model", "scan", "stage", "channel", "shape", "hole", "class")
STABILITY_COLUMNS = ("across", "stage", "one", "other", "channels", "n", "shape", "hole")
Table = list[dict[str, Any]]


def feature_files(
    models: Sequence[Path],
    scans: Path,
    out: Path,
    names: Sequence[str] = (),
    axis: str = "z",
    how: str = "sum",
    layers: Sequence[str] = (),
    device: str = "cpu",
    say: Callable[[str], object] = print,
) -> None:
    """Write the feature maps of models into a folder that appears whole.

    `<model>/<scan>/<stage>.png` (a tile a channel), `<model>/<scan>/maps.safetensors` (projections by stage, (channels,
    a, b) float32, not scaled), `scores.tsv`, `stability.tsv` and `index.html`.

    Args:
        models: Folders of trained models; several seeds of one model, for their stability.
        scans: scans.tsv of a cohort.
        out: Folder to write.
        names: Scans; none: the first that has a defective skull and its implant.
        axis, how: Of the projection: `x`, `y`, `z`; `sum`, `mean`, `max`.
        layers: Layers by torch's names; none: the network's stages.
        device: `cpu` or `cuda`.
        say: Told what was made.

    Raises:
        VolforgeError: No such scan, models that cannot be shown, or unknown words.
    """
    from volforge.tasks.implant.apply import load_model
    from volforge.tasks.implant.features.case import case_features

    cohort = Cohort(scans)
    chosen = chosen_scans(cohort, names)
    called = called_by(models)
    found: dict[str, list[CaseFeatures]] = {}
    for name, folder in zip(called, models, strict=True):
        model = load_model(folder, device)
        for scan in chosen:
            defective, implant = (cohort.read(scan, p) > 0 for p in ("defective", "implant"))
            case = case_features(model, defective, implant & ~defective, cohort.grid(scan), scan, layers)
            found.setdefault(name, []).append(case)
    rows, stable = score_rows(found), stability_rows(found)
    with whole_folder(out) as folder:
        for name, cases in found.items():
            for case in cases:
                write_case(case, folder / name / case.scan, axis, how)
        write_whole(folder / "scores.tsv", as_tsv(SCORE_COLUMNS, rows))
        write_whole(folder / "stability.tsv", as_tsv(STABILITY_COLUMNS, stable))
        pictures = [(n, c.scan, stage) for n, cases in found.items() for c in cases for stage in ("input", *c.maps)]
        write_whole(folder / "index.html", page(pictures, rows, stable, axis, how))
    say(str(out / "index.html"))


def chosen_scans(cohort: Cohort, names: Sequence[str]) -> list[str]:
    """Scans of these names, else the first one, with a defective skull and its implant.

    Raises:
        VolforgeError: There is none.
    """
    pairs = [r["scan"] for r in cohort.rows if all(cohort.has(r["scan"], p) for p in ("defective", "implant"))]
    for name in names:
        if name not in pairs:
            text = f"no accepted scan '{name}' has a defective skull and its implant"
            raise VolforgeError(text, str(cohort.scans), f"some that have: {', '.join(pairs[:8]) or 'none'}")
    if not pairs:
        raise VolforgeError("no scan has a defective skull and its implant", str(cohort.scans), "name another cohort")
    return list(dict.fromkeys(names)) or pairs[:1]


def called_by(models: Sequence[Path]) -> list[str]:
    """Short names of models by their folders: the last part, or as many parts as tell them apart.

    Raises:
        VolforgeError: One is named twice.
    """
    parts = [p.absolute().parts for p in models]
    if len(set(parts)) != len(parts):
        raise VolforgeError("a model is named twice", "", "name each once")
    depth = 1
    while len({p[-depth:] for p in parts}) < len(parts):
        depth += 1
    return ["-".join(p[-depth:]).strip("/") for p in parts]


def write_case(case: CaseFeatures, folder: Path, axis: str, how: str) -> None:
    """Contact sheets and projections of one skull."""
    from PIL import Image
    from safetensors.torch import save

    from volforge.tasks.implant.features.stages import projected

    folder.mkdir(parents=True)
    for stage, picture in case.sheets(axis, how).items():
        Image.fromarray(picture).save(folder / f"{stage}.png")
    flat = {stage: projected(maps, axis, how).contiguous() for stage, maps in case.maps.items()}
    write_whole(folder / "maps.safetensors", save(flat))


def score_rows(found: dict[str, list[CaseFeatures]]) -> Table:
    """One row a model, scan, stage and channel."""
    from volforge.tasks.implant.features.scores import kinds

    rows: Table = []
    for name, cases in found.items():
        for case in cases:
            for stage, values in case.scores.items():
                for k, (value, kind) in enumerate(zip(values.tolist(), kinds(values), strict=True)):
                    own = {"model": name, "scan": case.scan, "stage": stage, "channel": k, "class": kind}
                    rows.append(own | {"shape": number(value[0]), "hole": number(value[1])})
    return rows


def stability_rows(found: dict[str, list[CaseFeatures]]) -> Table:
    """Rank correlations of the channels' scores: across the cases of a model, and across models.

    Channels of two models are paired by their maps of the first case; their mean scores are compared on the other
    cases, or on that one where there is no other (`n` is the number of cases). `across: models, as numbered` leaves
    the channels as they are: what pairing is worth.
    """
    import torch

    from volforge.tasks.implant.features.scores import mean_of_pairs, partners

    rows: Table = []

    def add(across: str, stage: str, one: str, other: str, tables: list[Any], n: int) -> None:
        shape, hole = mean_of_pairs(tables)
        own = {"across": across, "stage": stage, "one": one, "other": other, "channels": len(tables[0]), "n": n}
        rows.append(own | {"shape": number(shape), "hole": number(hole)})

    for name, cases in found.items():
        for stage in cases[0].scores if len(cases) > 1 else ():
            add("cases", stage, name, "", [c.scores[stage] for c in cases], len(cases))
    for (one, a), (other, b) in combinations(found.items(), 2):
        for stage in [s for s in a[0].scores if s in b[0].scores]:
            if a[0].maps[stage].shape != b[0].maps[stage].shape:
                continue
            order = torch.from_numpy(partners(a[0].maps[stage], b[0].maps[stage]))
            rest = range(1, len(a)) if len(a) > 1 else range(1)
            means = [torch.stack([c[k].scores[stage] for k in rest]).mean(dim=0) for c in (a, b)]
            add("models, paired", stage, one, other, [means[0], means[1][order]], len(rest))
            add("models, as numbered", stage, one, other, means, len(rest))
    return rows


def page(pictures: Sequence[tuple[str, str, str]], rows: Table, stable: Table, axis: str, how: str) -> str:
    """A small page of all of it, with links to the pictures beside it."""
    from volforge.tasks.implant.features.sheets import LEGEND

    text = html.escape
    lines = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Feature maps</title>",
        "<style>body{font-family:sans-serif;margin:2em;max-width:75em}img{max-width:100%;image-rendering:pixelated}"
        "td,th{padding:.1em .8em;text-align:left}</style>",
        f"<h1>Feature maps</h1><p>Projected along {text(axis)} ({text(how)}), each channel from its smallest value "
        f"to its largest. {LEGEND} The first picture is what the network was shown, and the missing piece.</p>",
    ]
    lines += _table(("model", "scan", "stage", "channels", "shape", "hole"), _counts(rows))
    if stable:
        lines.append("<h2>Stability</h2><p>Spearman's rank correlation of the channels' scores.</p>")
        lines += _table(STABILITY_COLUMNS, stable)
    last = ("", "")
    for model, scan, stage in pictures:
        if (model, scan) != last:
            lines.append(f"<h2>{text(model)}, {text(scan)}</h2>")
            last = (model, scan)
        source = text(f"{model}/{scan}/{stage}.png", quote=True)
        lines.append(f"<h3>{text(stage)}</h3><img src='{source}' alt='{text(stage, quote=True)}' loading='lazy'>")
    return "\n".join([*lines, "</html>", ""])


def _counts(rows: Table) -> Table:
    """How many channels of a stage follow the bone, and how many the missing piece."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["model"], row["scan"], row["stage"])
        own = found.setdefault(key, dict(zip(("model", "scan", "stage"), key, strict=True)) | {"channels": 0})
        own["channels"] += 1
        for kind in ("shape", "hole"):
            own[kind] = own.get(kind, 0) + int(row["class"] == kind)
    return list(found.values())


def _table(columns: Sequence[str], rows: Table) -> list[str]:
    cell = html.escape
    head = "".join(f"<th>{cell(c)}</th>" for c in columns)
    body = ["<tr>" + "".join(f"<td>{cell(str(r[c]))}</td>" for c in columns) + "</tr>" for r in rows]
    return [f"<table><tr>{head}</tr>", *body, "</table>"]
