"""Sample sheets of real heads for MR to CT, from the folders that docs/heads-mr-to-ct.md describes.

Usage: python heads_of_synthrad.py DATA OUT    (DATA holds synthrad23_brain_slices, ixi_t1_2mm, synthrad23_head_ct)

Roles are dealt by a hash within each centre, so that no order of files and no look at an image has a part in it:
20 subjects tune (split `val`), 40 are tested once (split `test`), the others train. Each view has these sheets:

    <view>               training without pairs: a subject that trains gives its MR or its CT, never both, and no frame
    <view>_tune          the same training, measured on the subjects that tune; those that are tested do not stand in it
    <view>_ablation      CT of all subjects that train, MR of the volunteers: what scans and terms of a loss are worth,
                         measured on the subjects that tune
    <view>_paired        both scans of every training subject, aligned: for the ceiling with pairs
    <view>_without_1BA   (1BB, 1BC) nothing of that centre trains or tunes; its subjects that did not tune are tested

The seven subjects that are stored as whole heads may only train, since they were looked at. Their CT is the whole head,
and they give no MR, but with `_paired`. The mask that comes with the pairs lies 10 to 21 mm outside of the body: it
stands in the free column `pair_mask` for measuring, and no column that the import reads names it.
"""

import sys
from pathlib import Path

from volforge.cohort.splits import rank, share_out
from volforge.whole_file import write_whole

SEED = 19
TUNE, TEST = 20, 40
VIEWS = ("axial", "coronal", "sagittal")
COLUMNS = (
    "subject", "scan", "modality", "contrast", "unit", "frame", "image", "split", "centre", "role", "pair_mask",
)  # fmt: skip
SLICES, HEADS, VOLUNTEERS = "synthrad23_brain_slices", "synthrad23_head_ct", "ixi_t1_2mm"
TERMS = (
    "# SynthRAD2023 (Zenodo 7260705), CC BY-NC 4.0, non-commercial; IXI (brain-development.org), CC BY-SA 3.0. Weights",
    "# learnt from both together are not passed on. All slices of SynthRAD are middle slices; HU were taken back from",
    "# grey values. Written by config/examples/heads_of_synthrad.py; see docs/heads-mr-to-ct.md.",
)

Row = dict[str, str]


def centre_of(subject: str) -> str:
    """Centre of a SynthRAD subject: 1BA, 1BB or 1BC."""
    return subject[:3]


def roles_of(subjects: list[str], heads: set[str]) -> dict[str, str]:
    """Role by subject: `tune` and `test` in proportion to the centres, `train` the others and all of `heads`."""
    free = [s for s in subjects if s not in heads]
    by_centre: dict[str, list[str]] = {}
    for subject in rank(free, SEED, "roles"):
        by_centre.setdefault(centre_of(subject), []).append(subject)
    shares = {centre: len(of) / len(free) for centre, of in sorted(by_centre.items())}
    tune, test = share_out(TUNE, shares), share_out(TEST, shares)
    roles = dict.fromkeys(subjects, "train")
    for centre, ranked in by_centre.items():
        for number, subject in enumerate(ranked[: tune[centre] + test[centre]]):
            roles[subject] = "tune" if number < tune[centre] else "test"
    return roles


def domains_of(subjects: list[str], heads: set[str]) -> dict[str, str]:
    """`MR` or `CT` by training subject, in turn within each centre and going on from one centre to the next."""
    ranked = sorted(rank([s for s in subjects if s not in heads], SEED, "domains"), key=centre_of)  # sorted is stable
    return {s: ("MR", "CT")[k % 2] for k, s in enumerate(ranked)} | dict.fromkeys(heads, "CT")


def slice_row(view: str, subject: str, modality: str, frame: str, split: str, role: str) -> Row:
    """The row of one slice of a pair."""
    contrast = {"CT": ""}.get(modality, "T1" if centre_of(subject) == "1BA" else "T1_gd")
    return {
        "subject": subject,
        "scan": f"{subject}-{view}-{modality.lower()}",
        "modality": modality,
        "contrast": contrast,
        "unit": "hu" if modality == "CT" else "arbitrary",
        "frame": frame,
        "image": f"{SLICES}/{subject}/{view}_{modality.lower()}.nii.gz",
        "split": split,
        "centre": centre_of(subject),
        "role": role,
        "pair_mask": f"{SLICES}/{subject}/{view}_mask.nii.gz",
    }


def whole_head(subject: str) -> Row:
    """The row of a head CT that is stored whole."""
    image = f"{HEADS}/ct/{subject}_ct.nii.gz"
    row = {"subject": subject, "scan": f"{subject}-head-ct", "modality": "CT", "unit": "hu", "image": image}
    return row | {"split": "train", "centre": centre_of(subject), "role": "train"}


def volunteer(path: Path, data: Path) -> Row:
    """The row of a T1 image of IXI."""
    subject = path.name.split("-")[0]
    row = {"subject": subject, "scan": f"{subject}-t1", "modality": "MR", "contrast": "T1", "unit": "arbitrary"}
    image = path.relative_to(data).as_posix()
    return row | {"image": image, "split": "train", "centre": "IXI", "role": "train"}


def sheets_of(data: Path) -> dict[str, list[Row]]:
    """Rows of every sheet by its name.

    Raises:
        SystemExit: A folder is missing, or a subject lacks a file.
    """
    missing = [n for n in (SLICES, HEADS, VOLUNTEERS) if not (data / n).is_dir()]
    if missing:
        sys.exit(f"not in {data}: {', '.join(missing)}")
    subjects = sorted(p.name for p in (data / SLICES).iterdir() if p.is_dir())
    lacking = [
        f"{s}/{v}_{k}.nii.gz"
        for s in subjects
        for v in VIEWS
        for k in ("ct", "mr", "mask")
        if not (data / SLICES / s / f"{v}_{k}.nii.gz").exists()
    ]
    if lacking:
        sys.exit(f"files are missing below {SLICES}: {', '.join(lacking[:6])}")
    heads = {p.name.split("_")[0] for p in (data / HEADS / "ct").glob("*_ct.nii.gz")}
    roles = roles_of(subjects, heads)
    beside = [whole_head(s) for s in sorted(heads)]
    beside += [volunteer(p, data) for p in sorted((data / VOLUNTEERS / "t1").glob("*.nii.gz"))]
    domain = domains_of([s for s in subjects if roles[s] == "train"], heads)

    def pairs(view: str, role: str, split: str, wanted: list[str] = subjects) -> list[Row]:
        of_role = [s for s in wanted if roles[s] == role]
        return [slice_row(view, s, m, "1", split, role) for s in of_role for m in ("MR", "CT")]

    sheets: dict[str, list[Row]] = {}
    for view in VIEWS:
        apart = [slice_row(view, s, d, "", "train", "train") for s, d in sorted(domain.items()) if s not in heads]
        tuned, tested = pairs(view, "tune", "val"), pairs(view, "test", "test")
        sheets[view] = apart + beside + tuned + tested
        sheets[f"{view}_tune"] = apart + beside + pairs(view, "tune", "test")
        learnt = [slice_row(view, s, "CT", "", "train", "train") for s in subjects if roles[s] == "train"]
        sheets[f"{view}_ablation"] = learnt + beside + pairs(view, "tune", "test")
        sheets[f"{view}_paired"] = pairs(view, "train", "train") + beside + tuned + tested
        for centre in sorted({centre_of(s) for s in subjects}):
            here = [s for s in subjects if centre_of(s) == centre]
            elsewhere = [r for r in apart + beside + tuned if r["centre"] != centre]
            new = [s for s in here if s not in heads]
            tests = pairs(view, "train", "test", new) + pairs(view, "test", "test", new)
            sheets[f"{view}_without_{centre}"] = elsewhere + tests
    return sheets


def main() -> None:
    """Write all sheets."""
    data, out = map(Path, sys.argv[1:3])
    for name, rows in sheets_of(data).items():
        lines = [*TERMS, "\t".join(COLUMNS)]
        lines += ["\t".join(row.get(c, "") for c in COLUMNS) for row in rows]
        write_whole(out / f"head_mr_to_ct_{name}.tsv", "\n".join(lines) + "\n")
        print(f"head_mr_to_ct_{name}.tsv: {len(rows)} scans")


if __name__ == "__main__":
    main()
