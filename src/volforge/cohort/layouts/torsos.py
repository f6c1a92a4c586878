"""Whole bodies and abdomens: TotalSegmentator (CT, MR), AMOS, CHAOS, BIC-MAC."""

from __future__ import annotations

import csv
from pathlib import Path

from volforge.cohort.layouts.discovery import Discovery, Found, Options, Tree, is_test_folder, number, without_labels
from volforge.cohort.layouts.tables import (
    AMOS,
    CHAOS_MR,
    TOTALSEGMENTATOR_CT,
    TOTALSEGMENTATOR_MR,
    TOTALSEGMENTATOR_MR_EMPTY,
)
from volforge.errors import VolforgeError
from volforge.text_lines import lines_of

AMOS_WITHOUT_LABELS = ("5514", "5437")
BROKEN_IN_V1 = "s0864"  # issues 24 and 92 of wasserth/TotalSegmentator


def find_totalsegmentator(tree: Tree, options: Options) -> Discovery:
    """`sNNNN/{ct,mri}.nii.gz` with `segmentations/<structure>.nii.gz`; `meta.csv` holds the published split."""
    found = Discovery()
    scans = list(tree.match(r"(?P<subject>s\d{4})/(?P<kind>ct|mri)\.nii\.gz"))
    folders: dict[str, set[str]] = {}
    for _, g in tree.match(r"(?P<subject>s\d{4})/segmentations/(?P<name>[^/]+)\.nii(?:\.gz)?"):
        folders.setdefault(g["at"] + g["subject"], set()).add(g["name"])
    names = {n.lower() for members in folders.values() for n in members}
    if len({g["kind"] for _, g in scans}) > 1:
        raise VolforgeError(
            "the CT and the MR set lie here, whose numbers mean different people", str(tree.folder), "name one of them"
        )
    is_mr = bool(scans) and scans[0][1]["kind"] == "mri"
    table = number(TOTALSEGMENTATOR_MR if is_mr else TOTALSEGMENTATOR_CT)
    if len(names - set(table)) > 3:  # version 1 has other classes
        found.structures = number(sorted(names))
        found.notes.append("classes differ from those of version 2: ids follow the alphabet")
    else:
        found.structures = table | {n: len(table) + i for i, n in enumerate(sorted(names - set(table)), start=1)}
    is_v1 = "face" in names
    meta = _meta(tree, scans[0][1]["at"] if scans else "")
    bare: list[Found] = []
    for path, g in scans:
        subject = g["subject"]
        if is_v1 and subject == BROKEN_IN_V1:
            found.left_out.append((subject, "its image is damaged in version 1"))
            continue
        about = meta.get(subject, {})
        has_labels = g["at"] + subject in folders and not (is_mr and subject in TOTALSEGMENTATOR_MR_EMPTY)
        row = Found(
            subject,
            subject,
            "MR" if is_mr else "CT",
            image=path,
            labels=path.parent / "segmentations" if has_labels else None,
            label_source=(options.label_source or "model") if has_labels else "",
            split=about.get("split", "") if about.get("split") in ("train", "val", "test") else "",
            free={k: about[k] for k in ("study_type", "institute") if k in about},
        )
        (found.rows if has_labels else bare).append(row)
    without_labels(found, bare, options, "no masks, or masks known to be empty")
    return found


def _meta(tree: Tree, at: str) -> dict[str, dict[str, str]]:
    path = tree.get(f"{at}meta.csv")
    if path is not None:
        lines = lines_of(path.read_text(encoding="utf-8-sig", errors="replace"))
        if lines:
            delimiter = ";" if lines[0].count(";") >= lines[0].count(",") else ","
            return {r.get("image_id", ""): r for r in csv.DictReader(lines, delimiter=delimiter)}
    return {}


def find_amos(tree: Tree, options: Options) -> Discovery:
    """`images{Tr,Va,Ts}/amos_NNNN.nii.gz`: CT up to 500 and from 5000, MR between."""
    found = Discovery(structures=number(AMOS))
    hits = tree.match(r"labels(?:Tr|Va|Ts)/amos_(?P<n>\d{4})\.nii\.gz")
    labels = found.one_each((g["at"] + g["n"], p) for p, g in hits)
    bare: list[Found] = []
    for path, g in tree.match(r"(?P<subset>images[^/]*)/amos_(?P<n>\d{4})\.nii\.gz"):
        n = int(g["n"])
        label = labels.get(g["at"] + g["n"])
        if g["n"] in AMOS_WITHOUT_LABELS and label is None:
            found.left_out.append((f"amos_{g['n']}", "known to be damaged"))
            continue
        row = Found(
            f"amos_{g['n']}",
            f"amos_{g['n']}",
            "CT" if n <= 500 or n >= 5000 else "MR",
            image=path,
            labels=label,
            label_source=(options.label_source or "expert") if label else "",
            free={"subset": g["subset"]},
        )
        (found.rows if label else bare).append(row)
    if any(r.modality == "MR" for r in found.rows):
        found.notes.append("MR maps hold ids 1 to 13 only; whether two scans are of one patient is not published")
    without_labels(found, bare, options)
    return found


def find_chaos(tree: Tree, options: Options) -> Discovery:
    """`{CT,MR}/<n>/...DICOM_anon` with pictures in `Ground`: one per slice, in the order of the files' names."""
    found = Discovery(structures={name: i for name, (i, _) in CHAOS_MR.items()})
    grounds = {p.parent for p, _ in tree.match(r"(?:CT|MR)/\d+/.*Ground/[^/]+\.png")}
    folders = {p.parent: g for p, g in tree.match(r"(?P<kind>CT|MR)/(?P<n>\d+)/(?P<rest>.*DICOM_anon.*)/[^/]+\.dcm")}
    ct = {p.parent: g for p, g in tree.match(r"(?P<kind>CT)/(?P<n>\d+)/(?P<rest>DICOM_anon)/[^/]+\.dcm")}
    bare: list[Found] = []
    for folder, g in {**folders, **ct}.items():
        sequence = g["rest"].replace("DICOM_anon", "").strip("/").replace("//", "/").split("/")
        name = "-".join(filter(None, sequence))
        subject = f"{g['kind']}-{g['n']}"  # CT and MR of one number are different people
        is_phase = folder.name in ("InPhase", "OutPhase")
        base = folder.parent.parent if is_phase else folder.parent
        ground = base / "Ground"
        row = Found(
            subject,
            f"{subject}-{name}" if name else subject,
            g["kind"],
            contrast={"T1DUAL-InPhase": "T1_in", "T1DUAL-OutPhase": "T1_out", "T2SPIR": "T2_spir"}.get(name, name),
            frame="T1DUAL" if is_phase else "",
            image=folder,
            free={"subset": "test" if is_test_folder(g["at"], tree.folder) else "train"},
        )
        if ground in grounds:
            values = {"liver": "1-255"} if g["kind"] == "CT" else {n: v for n, (_, v) in CHAOS_MR.items()}
            row.parts = [(structure, ground, value) for structure, value in values.items()]
            row.label_source = options.label_source or "expert"
        (found.rows if row.parts else bare).append(row)
    found.rows.sort(key=lambda r: (r.modality, int(r.subject.split("-")[1]), r.scan))
    without_labels(found, bare, options)
    return found


def find_bicmac(tree: Tree, options: Options) -> Discovery:
    """`sub-NNN/{features,ct-label}`: Dixon MR and CT of one grid, which are not registered to each other."""
    found = Discovery(structures=number(TOTALSEGMENTATOR_CT))
    found.notes.append("MR and CT share a grid but are not registered: their `frame` is left empty")
    for path, g in tree.match(r"(?P<subject>sub-\d{3})/ct-label/ct\.nii\.gz"):
        labels, body = (_beside(tree, path, n) for n in ("organ_seg.nii.gz", "body_seg.nii.gz"))
        found.rows.append(
            Found(
                g["subject"],
                f"{g['subject']}-ct",
                "CT",
                image=path,
                labels=labels,
                body_mask=body,
                label_source=(options.label_source or "predicted") if labels else "",
                free={"subset": g["at"].rstrip("/").rsplit("/", 1)[-1]},
            )
        )
    for path, g in tree.match(r"(?P<subject>sub-\d{3})/features/mri_combined_(?P<phase>in|out)_phase\.nii\.gz"):
        found.rows.append(
            Found(
                g["subject"],
                f"{g['subject']}-mr-{g['phase']}",
                "MR",
                contrast=f"dixon_{g['phase']}",
                image=path,
                free={"subset": g["at"].rstrip("/").rsplit("/", 1)[-1]},
            )
        )
    for what in ("nacpet", "topogram"):
        count = len(list(tree.match(rf"sub-\d{{3}}/features/{what}\.nii\.gz")))
        if count:
            found.left_out.append((f"{count} {what}.nii.gz", "no CT, CBCT or MR volume"))
    found.rows.sort(key=lambda r: r.scan)
    return found


def _beside(tree: Tree, path: Path, name: str) -> Path | None:
    return tree.get(tree.relative(path.with_name(name)))
