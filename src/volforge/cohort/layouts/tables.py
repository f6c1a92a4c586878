"""Label tables as the data sets publish them, ids from 1 where the names stand in a row."""

from __future__ import annotations

_COUNTS = (("s", 1), ("l", 5), ("t", 12), ("c", 7))
_VERTEBRAE = tuple(f"vertebrae_{part}{i}" for part, n in _COUNTS for i in range(n, 0, -1))
_RIBS = tuple(f"rib_{side}_{i}" for side in ("left", "right") for i in range(1, 13))

TOTALSEGMENTATOR_CT = (
    "spleen", "kidney_right", "kidney_left", "gallbladder", "liver", "stomach", "pancreas", "adrenal_gland_right",
    "adrenal_gland_left", "lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right",
    "lung_middle_lobe_right", "lung_lower_lobe_right", "esophagus", "trachea", "thyroid_gland", "small_bowel",
    "duodenum", "colon", "urinary_bladder", "prostate", "kidney_cyst_left", "kidney_cyst_right", "sacrum", *_VERTEBRAE,
    "heart", "aorta", "pulmonary_vein", "brachiocephalic_trunk", "subclavian_artery_right", "subclavian_artery_left",
    "common_carotid_artery_right", "common_carotid_artery_left", "brachiocephalic_vein_left",
    "brachiocephalic_vein_right", "atrial_appendage_left", "superior_vena_cava", "inferior_vena_cava",
    "portal_vein_and_splenic_vein", "iliac_artery_left", "iliac_artery_right", "iliac_vena_left", "iliac_vena_right",
    "humerus_left", "humerus_right", "scapula_left", "scapula_right", "clavicula_left", "clavicula_right",
    "femur_left", "femur_right", "hip_left", "hip_right", "spinal_cord", "gluteus_maximus_left",
    "gluteus_maximus_right", "gluteus_medius_left", "gluteus_medius_right", "gluteus_minimus_left",
    "gluteus_minimus_right", "autochthon_left", "autochthon_right", "iliopsoas_left", "iliopsoas_right", "brain",
    "skull", *_RIBS, "sternum", "costal_cartilages",
)  # fmt: skip
"""Class map `total` of TotalSegmentator 2 (117 classes)."""

TOTALSEGMENTATOR_MR = (
    "spleen", "kidney_right", "kidney_left", "gallbladder", "liver", "stomach", "pancreas", "adrenal_gland_right",
    "adrenal_gland_left", "lung_left", "lung_right", "esophagus", "small_bowel", "duodenum", "colon",
    "urinary_bladder", "prostate", "sacrum", "vertebrae", "intervertebral_discs", "spinal_cord", "heart", "aorta",
    "inferior_vena_cava", "portal_vein_and_splenic_vein", "iliac_artery_left", "iliac_artery_right",
    "iliac_vena_left", "iliac_vena_right", "humerus_left", "humerus_right", "scapula_left", "scapula_right",
    "clavicula_left", "clavicula_right", "femur_left", "femur_right", "hip_left", "hip_right",
    "gluteus_maximus_left", "gluteus_maximus_right", "gluteus_medius_left", "gluteus_medius_right",
    "gluteus_minimus_left", "gluteus_minimus_right", "autochthon_left", "autochthon_right", "iliopsoas_left",
    "iliopsoas_right", "brain",
)  # fmt: skip
"""Class map `total_mr` (50 classes)."""

TOTALSEGMENTATOR_MR_EMPTY = frozenset(
    f"s{n:04d}"
    for n in (
        26, 48, 57, 69, 77, 78, 84, 86, 91, 94, 97, 98, 101, 102, 109, 111, 116, 122, 134, 136, 140,
        141, 150, 152, 165, 196, 330, 374, 376, 405, 431, 438, 449, 454, 458, 461, 480, 482, 486,
        507, 510, 513, 522, 523, 524, 548, 553, 580, 604, 605,
    )
)  # fmt: skip
"""Subjects of the MR set v2.0.0 whose masks are all empty (issue 511 of wasserth/TotalSegmentator)."""

AMOS = (
    "spleen", "kidney_right", "kidney_left", "gall_bladder", "esophagus", "liver", "stomach", "aorta", "postcava",
    "pancreas", "adrenal_gland_right", "adrenal_gland_left", "duodenum", "bladder", "prostate_uterus",
)  # fmt: skip

SEGRAP = (
    "Brain", "BrainStem", "Chiasm", "TemporalLobe_L", "TemporalLobe_R", "Hippocampus_L", "Hippocampus_R", "Eye_L",
    "Eye_R", "Lens_L", "Lens_R", "OpticNerve_L", "OpticNerve_R", "MiddleEar_L", "MiddleEar_R", "IAC_L", "IAC_R",
    "TympanicCavity_L", "TympanicCavity_R", "VestibulSemi_L", "VestibulSemi_R", "Cochlea_L", "Cochlea_R", "ETbone_L",
    "ETbone_R", "Pituitary", "OralCavity", "Mandible_L", "Mandible_R", "Submandibular_L", "Submandibular_R",
    "Parotid_L", "Parotid_R", "Mastoid_L", "Mastoid_R", "TMjoint_L", "TMjoint_R", "SpinalCord", "Esophagus", "Larynx",
    "Larynx_Glottic", "Larynx_Supraglot", "PharynxConst", "Thyroid", "Trachea",
)  # fmt: skip

HANSEG = (
    "A_Carotid_L", "A_Carotid_R", "Arytenoid", "Bone_Mandible", "Brainstem", "BuccalMucosa", "Cavity_Oral",
    "Cochlea_L", "Cochlea_R", "Cricopharyngeus", "Esophagus_S", "Eye_AL", "Eye_AR", "Eye_PL", "Eye_PR",
    "Glnd_Lacrimal_L", "Glnd_Lacrimal_R", "Glnd_Submand_L", "Glnd_Submand_R", "Glnd_Thyroid", "Glottis", "Larynx_SG",
    "Lips", "OpticChiasm", "OpticNrv_L", "OpticNrv_R", "Parotid_L", "Parotid_R", "Pituitary", "SpinalCord",
)  # fmt: skip

CHAOS_MR = {
    "liver": (1, "55-70"),
    "kidney_right": (2, "110-135"),
    "kidney_left": (3, "175-200"),
    "spleen": (4, "240-255"),
}
"""Id, and the range of grey values that means it in the pictures (63, 126, 189, 252)."""

BIDS_DSEG = {
    "gray_matter": 1, "white_matter": 2, "cerebrospinal_fluid": 3, "bone": 4, "soft_tissue": 5, "non_brain": 6,
    "lesion": 7, "cortical_gray_matter": 8, "subcortical_gray_matter": 9, "brainstem": 10, "cerebellum": 11,
}  # fmt: skip
"""The look-up table of the BIDS specification for `dseg` files without one."""

MSD = {
    "brats": (
        "Task01_BrainTumour",
        ("FLAIR", "T1w", "t1gd", "T2w"),
        ("edema", "non_enhancing_tumour", "enhancing_tumour"),
    ),
    "la": ("Task02_Heart", ("MRI",), ("left_atrium",)),
    "liver": ("Task03_Liver", ("CT",), ("liver", "cancer")),
    "hippocampus": ("Task04_Hippocampus", ("MRI T1",), ("anterior", "posterior")),
    "prostate": ("Task05_Prostate", ("T2", "ADC"), ("peripheral_zone", "transition_zone")),
    "lung": ("Task06_Lung", ("CT",), ("cancer",)),
    "pancreas": ("Task07_Pancreas", ("CT",), ("pancreas", "cancer")),
    "hepaticvessel": ("Task08_HepaticVessel", ("CT",), ("vessel", "tumour")),
    "spleen": ("Task09_Spleen", ("CT",), ("spleen",)),
    "colon": ("Task10_Colon", ("CT",), ("cancer",)),
}
"""First word of the file names: task, channels, structures; for copies without their dataset.json."""

_TEETH = ("Central Incisor", "Lateral Incisor", "Canine", "First Premolar", "Second Premolar", "First Molar",
          "Second Molar", "Third Molar")  # fmt: skip
_QUADRANTS = {10: "Upper Right", 20: "Upper Left", 30: "Lower Left", 40: "Lower Right"}
TOOTHFAIRY = {
    1: "Lower Jawbone", 2: "Upper Jawbone", 3: "Left Inferior Alveolar Canal", 4: "Right Inferior Alveolar Canal",
    5: "Left Maxillary Sinus", 6: "Right Maxillary Sinus", 7: "Pharynx", 8: "Bridge", 9: "Crown", 10: "Implant",
    **{q + i: f"{name} {tooth}" for q, name in _QUADRANTS.items() for i, tooth in enumerate(_TEETH, start=1)},
}  # fmt: skip
"""Ids of ToothFairy 2: FDI numbers of the teeth, and below them the bones."""
TOOTHFAIRY_3 = {
    **TOOTHFAIRY,
    103: "Left Mandibular Incisive Canal", 104: "Right Mandibular Incisive Canal", 105: "Lingual Canal",
    **{100 + i: f"{name} Pulp" for i, name in TOOTHFAIRY.items() if i > 10},
}  # fmt: skip
