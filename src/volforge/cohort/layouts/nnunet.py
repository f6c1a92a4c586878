"""nnU-Net raw data sets (version 1 and 2) and the Medical Segmentation Decathlon: a dataset.json tells all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from volforge.cohort.layouts.discovery import Discovery, Found, Options, Tree, number, unique, without_labels
from volforge.cohort.layouts.tables import MSD
from volforge.errors import VolforgeError
from volforge.tables.names import scan_name
from volforge.volume.folders import read_json

ENDINGS = r"\.(?:nii\.gz|nii|nrrd|mha|mhd)"


def dataset_roots(tree: Tree, keys: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
    """Folders (with a closing `/`, or empty) of every dataset.json that has one of the keys, with its content."""
    roots = []
    for path, groups in tree.match(r"dataset\.json"):
        content = read_json(path)
        if isinstance(content, dict) and any(k in content for k in keys):
            roots.append((groups["at"], content))
    return roots


def one_root(tree: Tree, keys: tuple[str, ...]) -> tuple[str, dict[str, Any]] | None:
    """The one data set of a folder; an error that names them where there are several."""
    roots = dataset_roots(tree, keys)
    if len(roots) > 1:
        shown = ", ".join(at.rstrip("/") or "." for at, _ in roots[:6])
        raise VolforgeError(f"{len(roots)} data sets: {shown}", str(tree.folder), "name the folder of one")
    return roots[0] if roots else None


def find_nnunet(tree: Tree, options: Options, root: tuple[str, dict[str, Any]] | None = None) -> Discovery:
    """nnU-Net raw: channels on one grid, labels in labelsTr, folds from splits_final.json.

    Args:
        tree, options: As for every layout.
        root: Folder and content of the dataset.json, where it is known (or made up for sets without one).
    """
    found = Discovery()
    root = root or one_root(tree, ("channel_names", "modality"))
    if root is None:
        return found
    at, dataset = root
    if not isinstance(dataset.get("labels", {}), dict):
        raise VolforgeError("`labels` is no table of names and ids", f"{at}dataset.json", "mend it as nnU-Net wants it")
    found.structures = structures_of(dataset, found)
    found.licence = str(dataset.get("licence") or dataset.get("license") or "")
    channels = {int(k): str(v) for k, v in (dataset.get("channel_names") or dataset.get("modality") or {}).items()}
    doubled = [n for n in channels.values() if list(channels.values()).count(n) > 1]
    if doubled and not options.modality:
        raise VolforgeError(
            f"two channels are called '{doubled[0]}': names here are normalisations, not truth",
            f"{at}dataset.json",
            "pass --modality if all channels are of one, or use the data set's own layout",
        )
    labelled, bare = cases(tree, at, dataset, found)
    if any(re.match(r"(?:fdg|psma)_[0-9a-f]{4,}_", case) for _, case in labelled):
        raise VolforgeError("AutoPET: its cases are studies, several of one patient", at, "use --layout autopet")
    found.notes.append("subject = case: where one patient has several cases, write the patient into `subject`")
    skipped: dict[str, int] = {}
    rows: dict[bool, list[Found]] = {True: [], False: []}
    trained = {case for subset, case in [*labelled, *bare] if subset == "imagesTr"}
    for name, files, labels, subset in [*labelled.values(), *bare.values()]:
        case = f"test-{name}" if subset == "imagesTs" and name in trained else name  # numbered anew, another patient
        for channel, image in sorted(files.items()):
            modality = options.modality or modality_of(channels.get(channel, ""))
            if modality == "PET":
                skipped[channels.get(channel, str(channel))] = skipped.get(channels.get(channel, str(channel)), 0) + 1
                continue
            if not modality:
                raise VolforgeError(
                    f"channel {channel} is called '{channels.get(channel, '')}': CT, CBCT or MR?",
                    f"{at}dataset.json",
                    "pass --modality",
                )
            several = len([c for c in files if modality_of(channels.get(c, "")) != "PET"]) > 1
            rows[labels is not None].append(
                Found(
                    case,
                    f"{case}_{channel:04d}" if several else case,
                    modality,
                    contrast=contrast_of(channels.get(channel, "")),
                    frame="1" if several else "",
                    image=image,
                    labels=labels,
                    label_source=(options.label_source or "expert") if labels else "",
                    split="test" if subset == "imagesTs" and labels else "",
                    free={"subset": subset},
                )
            )
    for name, count in skipped.items():
        found.left_out.append((f"{count} images of channel '{name}'", "PET is no modality of a sheet"))
    found.rows = rows[True]
    without_labels(found, rows[False], options)
    give_folds(found, tree, at)
    return found


def cases(tree: Tree, at: str, dataset: dict[str, Any], found: Discovery) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Cases with and without labels: (case, images by channel, labels, subset) by subset and case."""
    labelled: dict[Any, Any] = {}
    bare: dict[Any, Any] = {}
    ending = str(dataset.get("file_ending") or ".nii.gz").lower()

    def has_ending(path: Path) -> bool:
        return path.name.lower().endswith(ending)

    for case, entry in (dataset.get("dataset") or {}).items():
        files = {i: _joined(tree, at, p) for i, p in enumerate(entry["images"])}
        labelled["imagesTr", case] = (case, files, _joined(tree, at, entry["label"]), "imagesTr")
    for subset, labels_of in (("imagesTr", "labelsTr"), ("imagesVa", "labelsVa"), ("imagesTs", "labelsTs")):
        images: dict[str, dict[int, Path]] = {}
        hits = [h for h in tree.match(rf"{labels_of}/(?P<case>[^/]+?){ENDINGS}") if h[1]["at"] == at]
        masks = found.one_each(((g["case"], p) for p, g in hits), has_ending)
        hits = [h for h in tree.match(rf"{subset}/(?P<case>[^/]+?)_(?P<channel>\d{{4}}){ENDINGS}") if h[1]["at"] == at]
        files_of = found.one_each((((g["case"], int(g["channel"])), p) for p, g in hits), has_ending)
        for (case, channel), path in files_of.items():
            images.setdefault(case, {})[channel] = path
        for case, files in images.items():
            (labelled if case in masks else bare)[subset, case] = (case, files, masks.get(case), subset)
    return labelled, bare


def _joined(tree: Tree, at: str, path: str) -> Path:
    return tree.folder / at / path  # absolute paths stay absolute


def structures_of(dataset: dict[str, Any], found: Discovery) -> dict[str, int]:
    """Ids by plain name, from either form of `labels`; placeholders are left out, and it is said what is no plain id.

    A region (a list of ids) is a union, and maps hold its ids: those that nothing else names are called by the region
    that `regions_class_order` gives them, else by the smallest that holds them. Voxels of `ignore` are in the maps too.
    """
    table: list[tuple[str, int]] = []
    regions: dict[str, list[int]] = {}
    foreground: list[str] = []
    for key, value in dataset.get("labels", {}).items():
        name, ids = (str(value), key) if re.fullmatch(r"\d+", str(key)) else (str(key), value)
        wrong = [i for i in (ids if isinstance(ids, list) else [ids]) if float(i) % 1]
        if wrong:
            raise VolforgeError(f"label '{name}' has the id {wrong[0]}", "dataset.json", "ids are whole numbers")
        if isinstance(ids, list):
            if set(ids) != {0}:  # not the background
                regions[name] = [int(i) for i in ids]
        elif int(ids) == 0 or re.fullmatch(r"(?i)na\d*|background", name):
            continue
        else:
            table.append((name, int(ids)))
        if name.lower() == "ignore":
            found.notes.append(
                f"id {ids} (ignore) marks voxels that nobody annotated: it stands in the table, so that maps with it "
                "are accepted; elsewhere than in nnU-Net it counts as background of the other structures"
            )
        elif ids != [0]:
            foreground.append(name)
    if regions:
        shown = ", ".join(f"{name} = {' + '.join(map(str, ids))}" for name, ids in regions.items())
        found.notes.append(f"regions are unions, and structures are single ids: {shown} were not taken as structures")
    order = dataset.get("regions_class_order") or []
    painted = dict(zip(map(int, order), foreground, strict=True)) if len(order) == len(foreground) else {}
    known = {i for _, i in table}
    for i in sorted({i for ids in regions.values() for i in ids if i > 0} - known):
        holding = sorted((r for r in regions if i in regions[r]), key=lambda r: len(regions[r]))
        name = painted[i] if painted.get(i) in holding else holding[0]
        table.append((name if len(regions[name]) == 1 else f"{name}_{i}", i))
    return unique(table)


def modality_of(channel: str) -> str:
    """The modality that a channel's name means; empty where it cannot be told (it may be a normalisation)."""
    words = channel.lower()
    if re.search(r"cbct", words):
        return "CBCT"
    if re.search(r"\bct\b", words):
        return "CT"
    if re.search(r"pet|suv", words):
        return "PET"
    known = r"\bmri?\b|t1|t2|flair|adc|dwi|\bpd|swi|\bb\d+\b|dixon|(?:in|out|opp\w*)[ _-]?phase"
    return "MR" if re.search(known, words) else ""


def contrast_of(channel: str) -> str:
    """The contrast that a channel's name means, empty for CT."""
    text = re.sub(r"(?i)^(mri?|ct|cbct)\b[ _-]*", "", channel).strip()
    return "" if modality_of(channel) in ("CT", "CBCT", "") else text


def give_folds(found: Discovery, tree: Tree, at: str) -> None:
    """Folds of splits_final.json, where each case is validated exactly once."""
    path = tree.get(f"{at}splits_final.json")
    if path is None:
        return
    splits = read_json(path)
    fold_of: dict[str, list[int]] = {}
    for k, split in enumerate(splits):
        for case in split["val"]:
            fold_of.setdefault(case, []).append(k)
    cases_of_rows = {r.subject for r in found.rows if r.split != "test" and r.is_labelled}
    if all(len(fold_of.get(c, [])) == 1 for c in cases_of_rows) and cases_of_rows:
        for row in found.rows:
            row.fold = str(fold_of[row.subject][0]) if row.subject in cases_of_rows else ""
        found.notes.append(f"folds as in splits_final.json: set the cohort's `folds: {len(splits)}`")
        found.settings["folds"] = str(len(splits))
    else:
        found.notes.append("splits_final.json validates cases not once each: its folds were not taken")


def find_msd(tree: Tree, options: Options) -> Discovery:
    """Medical Segmentation Decathlon: `training` of dataset.json; copies without it by the names of their files."""
    found = Discovery()
    root = one_root(tree, ("training",))
    if root is None:
        return _msd_by_names(tree, options)
    at, dataset = root
    found.structures = structures_of(dataset, found)
    found.licence = str(dataset.get("licence") or "")
    channels = {int(k): str(v) for k, v in (dataset.get("modality") or {"0": "MRI"}).items()}
    several = str(dataset.get("tensorImageSize", "")) == "4D" or len(channels) > 1
    pairs = [(e["image"], e["label"]) for e in dataset["training"]]
    bare = [(p if isinstance(p, str) else p["image"], None) for p in dataset.get("test", [])]
    unlabelled: list[Found] = []
    for channel in channels.values():
        if not options.modality and modality_of(channel) not in ("CT", "CBCT", "MR"):
            raise VolforgeError(f"channel '{channel}': CT, CBCT or MR?", f"{at}dataset.json", "pass --modality")
    for files, rows in ((pairs, found.rows), (bare, unlabelled)):
        for image, label in files:
            image_file = tree.get(at + image.removeprefix("./"))
            label_file = tree.get(at + label.removeprefix("./")) if label else None
            if image_file is None or (label and label_file is None):
                found.left_out.append((image, "named in dataset.json, not in the folder"))
                continue
            rows.extend(_msd_rows(image_file, label_file, channels, several, options))
    without_labels(found, unlabelled, options)
    return found


def _msd_rows(
    image: Path, label: Path | None, channels: dict[int, str], several: bool, options: Options
) -> list[Found]:
    case = re.sub(rf"{ENDINGS}$", "", image.name)
    rows = []
    for index, channel in sorted(channels.items()):
        name = contrast_of(channel) or "CT"
        rows.append(
            Found(
                case,
                scan_name(f"{case}-{name}") if several else case,
                options.modality or modality_of(channel),
                contrast=contrast_of(channel),
                frame="1" if several else "",
                image=image,
                channel=index if several else None,
                labels=label,
                label_source=(options.label_source or "expert") if label else "",
            )
        )
    return rows


def _msd_by_names(tree: Tree, options: Options) -> Discovery:
    found = Discovery()
    words = "|".join(MSD)
    files = list(tree.match(rf"(?P<folder>images(?:Tr|Ts)?)/(?P<case>(?P<task>{words})_\d+){ENDINGS}"))
    tasks = {g["task"] for _, g in files}
    if len(tasks) > 1:
        raise VolforgeError(f"files of several tasks: {', '.join(sorted(tasks))}", str(tree.folder), "name one folder")
    if not tasks:
        return found
    task, channels, names = MSD[tasks.pop()]
    found.structures = number(names)
    found.notes.append(f"no dataset.json: structures of {task} as published")
    unlabelled: list[Found] = []
    hits = tree.match(rf"labels(?:Tr|Ts)?/(?P<case>(?:{words})_\d+){ENDINGS}")
    labels = found.one_each(((g["at"], g["case"]), p) for p, g in hits)
    for path, g in files:
        label = labels.get((g["at"], g["case"]))
        rows = _msd_rows(path, label, dict(enumerate(channels)), len(channels) > 1, options)
        (found.rows if label else unlabelled).extend(rows)
    without_labels(found, unlabelled, options)
    return found
