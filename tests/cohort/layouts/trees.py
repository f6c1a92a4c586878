"""Small trees in the layouts of public data sets: names as published, files empty where only names are read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from volforge.cohort.layouts.tables import HANSEG, SEGRAP

JUNK = ("._junk.nii.gz", "__MACOSX/imagesTr/x_0000.nii.gz", ".DS_Store")


def touch(folder: Path, names: Iterable[str], size: int = 400) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))


def put(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def bids(folder: Path) -> None:
    put(folder / "dataset_description.json", {"Name": "x", "BIDSVersion": "1.9.0", "License": "CC0"})
    touch(folder, [f"sub-0{n}/ses-1/anat/sub-0{n}_ses-1_{s}.nii.gz" for n in (1, 2) for s in ("T1w", "T2w", "FLAIR")])
    touch(
        folder,
        ["sub-01/ses-2/anat/sub-01_ses-2_ce-gad_T1w.nii.gz", "sub-01/ses-1/anat/sub-01_ses-1_part-phase_T1w.nii"],
    )
    touch(folder, ["sub-03/ct/sub-03_ct.nii.gz", "sub-04/sub-04_ct.nii.gz", "sub-01/func/sub-01_task-x_bold.nii.gz"])
    touch(folder, ["sub-05/anat/sub-05_T1w.nii.gz"], size=40)  # a placeholder of git-annex
    derivative = folder / "derivatives/seg"
    put(derivative / "dataset_description.json", {"DatasetType": "derivative", "License": "other"})
    touch(derivative, ["sub-01/ses-1/anat/sub-01_ses-1_dseg.nii.gz", "sub-01/ses-2/anat/sub-01_ses-2_dseg.nii.gz"])
    touch(derivative, ["sub-02/ses-1/anat/sub-02_ses-1_space-MNI152_dseg.nii.gz", "sub-03/ct/sub-03_dseg.nii.gz"])
    put(derivative / "dseg.tsv", "index\tname\n0\tBackground\n3\tLeft Hippocampus\n7\tThalamus\n")


def nnunet(folder: Path) -> None:
    root = folder / "Dataset005_Prostate"
    put(
        root / "dataset.json",
        {
            "channel_names": {"0": "T2", "1": "ADC"},
            "labels": {"background": 0, "whole": [1, 2], "PZ": 1, "TZ": 2, "ignore": 3},
            "numTraining": 4, "file_ending": ".nii.gz", "regions_class_order": [1, 2],
        },
    )  # fmt: skip
    touch(root, [f"imagesTr/p_{n:02d}_{c:04d}.nii.gz" for n in range(4) for c in (0, 1)])
    touch(root, [f"labelsTr/p_{n:02d}.nii.gz" for n in range(4)])
    touch(root, [f"imagesTs/p_{n:02d}_{c:04d}.nii.gz" for n in (7, 8) for c in (0, 1)])
    touch(root, ["labelsTs/p_07.nii.gz", *JUNK])
    cases = [f"p_{n:02d}" for n in range(4)]
    put(root / "splits_final.json", [{"train": cases[:2], "val": cases[2:]}, {"train": cases[2:], "val": cases[:2]}])


def msd(folder: Path) -> None:
    root = folder / "Task05_Prostate"
    training = [
        {"image": f"./imagesTr/prostate_0{n}.nii.gz", "label": f"./labelsTr/prostate_0{n}.nii.gz"} for n in (0, 1, 9)
    ]
    put(
        root / "dataset.json",
        {
            "labels": {"0": "background", "1": "PZ", "2": "TZ"}, "modality": {"0": "T2", "1": "ADC"},
            "tensorImageSize": "4D", "licence": "CC-BY-SA 4.0", "training": training, "test": ["./imagesTs/prostate_03.nii.gz"],
        },
    )  # fmt: skip
    touch(root, [f"{k}Tr/prostate_0{n}.nii.gz" for k in ("images", "labels") for n in (0, 1)])
    touch(root, ["imagesTs/prostate_03.nii.gz", "imagesTr/._prostate_00.nii.gz"])


def autopet(folder: Path) -> None:
    put(folder / "dataset.json", {"channel_names": {"0": "CT", "1": "CT"}, "labels": {"background": 0, "tumor": 1}})
    studies = ["fdg_00aa_03-23-2003-NA-PET-CT Ganzkoerper  primaer mit KM-10445", "fdg_00aa_05-01-2004-NA-PET-CT-1"]
    studies.append("psma_95b8_2018-04-16")
    touch(folder, [f"imagesTr/{s}_000{c}.nii.gz" for s in studies for c in (0, 1)])
    touch(folder, [f"labelsTr/{s}.nii.gz" for s in studies])
    put(
        folder / "splits_final.json",
        [{"train": studies[1:], "val": studies[:1]}, {"train": studies[:1], "val": studies[1:]}],
    )


def autopet_studies(folder: Path) -> None:
    base = folder / "FDG-PET-CT-Lesions"
    for patient, study in (
        ("PETCT_0011f3deaf", "03-23-2003-NA-PET-CT  x-10445"),
        ("PETCT_0011f3deaf", "04-01-2005-NA-y"),
    ):
        touch(base, [f"{patient}/{study}/{n}.nii.gz" for n in ("CT", "CTres", "PET", "SEG", "SUV")])


def synthrad2023(folder: Path) -> None:
    base = folder / "Task1"
    for region, patients in {"brain": ["1BA001", "1BB002", "1BC012"], "pelvis": ["1PA000", "1PC003"]}.items():
        touch(base, [f"{region}/{p}/{k}.nii.gz" for p in patients for k in ("ct", "mr", "mask")])
        touch(base, [f"{region}/overview/1_{region}_train.xlsx", f"{region}/overview/{patients[0]}_train.png"])
    touch(folder, [f"Task2/brain/2BA001/{k}.nii.gz" for k in ("ct", "cbct", "mask")])


def synthrad2025(folder: Path) -> None:
    touch(
        folder / "Task1",
        [f"{r}/{p}/{k}.mha" for r, p in (("AB", "1ABA005"), ("HN", "1HNC001")) for k in ("ct", "mr", "mask")],
    )
    touch(folder / "Task1", ["AB/overviews/1ABA005_overview.png", "AB/1ABA005/ct_def.mha"])
    touch(folder / "Task2", [f"HN/2HNA001/{k}.mha" for k in ("ct", "cbct", "mask")])


def skullfix(folder: Path) -> None:
    touch(
        folder,
        [f"training_set/{k}/00{n}.nrrd" for k in ("complete_skull", "defective_skull", "implant") for n in (0, 1, 2)],
    )
    touch(folder, ["training_set/defective_skull/009.nrrd", "test_set_for_participants/000.nrrd"])


def skullbreak(folder: Path) -> None:
    kinds = ("bilateral", "frontoorbital", "parietotemporal", "random_1", "random_2")
    touch(folder, [f"complete_skull/{n}.nrrd" for n in ("000", "117")])
    touch(folder, [f"{k}/{d}/{n}.nrrd" for k in ("defective_skull", "implant") for d in kinds for n in ("000", "117")])


def mug500(folder: Path) -> None:
    touch(folder, ["A0001/A0001.nrrd", "A0001/A0001.stl", "A0001/A0001_clear.stl", "0002-0050/A0002/A0002.nrrd"])
    touch(
        folder,
        [
            "craniotomy_skull/B0001/B0001.nrrd",
            "craniotomy_skull/B0001/B0001_implant.stl",
            "craniotomy_skull/B0002/B0002.nrrd",
        ],
    )


def totalsegmentator(folder: Path) -> None:
    names = ("liver", "spleen", "rib_left_1", "vertebrae_S1")
    touch(folder, [f"s000{n}/ct.nii.gz" for n in range(3)])
    touch(folder, [f"s000{n}/segmentations/{s}.nii.gz" for n in range(3) for s in names])
    rows = ["image_id;age;gender;institute;study_type;split", "s0000;60;m;A;ct thorax;train", "s0002;;f;B;ct head;test"]
    (folder / "meta.csv").write_text("\n".join(rows), encoding="utf-8-sig")


def chaos(folder: Path) -> None:
    base = folder / "CHAOS_Train_Sets/Train_Sets"
    touch(base, [f"CT/5/DICOM_anon/i00{n:02d},0000b.dcm" for n in range(3)])
    touch(base, [f"CT/5/Ground/liver_GT_{n:03d}.png" for n in range(3)])
    for phase in ("InPhase", "OutPhase"):
        touch(base, [f"MR/5/T1DUAL/DICOM_anon/{phase}/IMG-0004-0000{n}.dcm" for n in range(1, 4)])
    touch(base, [f"MR/5/T1DUAL/Ground/IMG-0004-0000{n}.png" for n in range(1, 4)])
    touch(base, [f"MR/5/T2SPIR/{k}" for k in ("DICOM_anon/IMG-0002-00001.dcm", "Ground/IMG-0002-00001.png")])
    touch(folder / "CHAOS_Test_Sets/Test_Sets", ["CT/3/DICOM_anon/i0000,0000b.dcm"])


def segrap2023(folder: Path) -> None:
    base = folder / "SegRap2023_Training_Set_120cases"
    touch(base, [f"segrap_0000/{n}.nii.gz" for n in ("image", "image_contrast", "GTVp", *SEGRAP)])
    touch(folder / "SegRap2023_Training_Set_120cases_Update_Labels", ["segrap_0000/Mandible_L.nii.gz"])
    touch(folder / "SegRap2023_Validation_Set", ["segrap_0120/image.nii.gz", "segrap_0120/image_contrast.nii.gz"])


def hanseg(folder: Path) -> None:
    base = folder / "HaN-Seg/set_1/case_01"
    touch(base, ["case_01_IMG_CT.nrrd", "case_01_IMG_MR_T1.nrrd", *(f"case_01_OAR_{o}.seg.nrrd" for o in HANSEG)])


def toothfairy(folder: Path) -> None:
    base = folder / "ToothFairy3"
    put(
        base / "dataset.json",
        {
            "channel_names": {"0": "CBCT"},
            "labels": {"background": 0, "Lower Jawbone": 1, "Upper Jawbone": 2, "NA1": 19},
        },
    )
    for case in ("3F_001", "3P_381", "3S_0048"):
        touch(base, [f"imagesTr/ToothFairy{case}_0000.nii.gz", f"labelsTr/ToothFairy{case}.nii.gz"])


def amos(folder: Path) -> None:
    for n, subset in ((1, "Tr"), (500, "Tr"), (507, "Tr"), (22, "Va"), (600, "Va")):
        touch(folder / "amos22", [f"images{subset}/amos_{n:04d}.nii.gz", f"labels{subset}/amos_{n:04d}.nii.gz"])
    touch(folder / "amos22", ["imagesTs/amos_0099.nii.gz", "imagesTr/amos_5514.nii.gz"])


def bicmac(folder: Path) -> None:
    touch(
        folder / "train/sub-000",
        [
            f"features/{n}.nii.gz"
            for n in ("nacpet", "topogram", "mri_combined_in_phase", "mri_combined_out_phase", "mri_chunk_0_in_phase")
        ],
    )
    touch(
        folder / "train/sub-000", [f"ct-label/{n}.nii.gz" for n in ("ct", "body_seg", "organ_seg", "prediction_mask")]
    )
    touch(folder / "val/sub-004", ["features/mri_combined_in_phase.nii.gz"])


def ixi(folder: Path) -> None:
    touch(folder, [f"IXI-{k}/IXI002-Guys-0828-{k}.nii.gz" for k in ("T1", "T2")])
    touch(
        folder,
        [
            "IXI-DTI/IXI002-Guys-0828-DTI-00.nii.gz",
            "IXI-MRA/IXI371-IOP-0970-MRA.nii.gz",
            "IXI-T1/IXI1024-HH-0001-T1.nii.gz",
        ],
    )


def negative_volume(folder: Path) -> None:
    for n in ("001", "17"):
        touch(folder, [f"data_unzip/{n}/data/images/{n}/deep/{k}.dcm" for k in range(3)])
    touch(folder, [f"data_labeled/STLs/001_{o}/{o}_001.stl" for o in ("LM", "RM", "LC")])
    touch(folder, ["data_labeled/STLs/RB_17.stl", "data_labeled/STLs/17_LM.stl", "data_labeled/STLs/remarks.stl"])
