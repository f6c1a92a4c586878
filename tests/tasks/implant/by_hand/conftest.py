"""One small model and one defective skull, for all tests of a skull by hand."""

import numpy as np
import pytest

from tests.tasks.implant.kriging.shells import cap, centres, voxels
from volforge.tasks.implant.by_hand.case import predict_case
from volforge.tasks.implant.by_hand.options import CaseOptions
from volforge.tasks.implant.kriging.fit import fit
from volforge.tasks.implant.kriging.model import about, tensors_of
from volforge.tasks.implant.kriging.settings import KrigingSettings
from volforge.training.fitted import write_fitted
from volforge.volume.geometry import Grid
from volforge.volume.write import write_nifti

SPACING = 2.5
NAME = "a&<b>.nii.gz"
LIMITS = {"cost": 1e-9, "rim_mm": 100.0}


def shell(seed):
    rng = np.random.default_rng(seed)
    semi = np.array([70.0, 90.0, 78.0]) * (1 + rng.uniform(-0.03, 0.03, 3))
    return voxels(semi, rng.uniform(2.1, 2.4), rng.uniform(7, 9), SPACING)


def holed(*holes, seed=20):
    """A shell with holes (direction, half angle): skull and what is missing, bool, and the affine."""
    whole, affine = shell(seed)
    points = centres(whole.shape, affine)
    missing = np.zeros(whole.shape, bool)
    for towards, angle in holes:
        missing |= cap(points, towards, angle) & (whole > 0) & (points[..., 2] > 0)
    return (whole > 0) & ~missing, missing, affine


SIDE, FRONT = ((0.5, -0.5, 0.7), 18), ((-0.3, 0.7, 0.65), 13)


def save(path, mask, affine):
    write_nifti(path, mask.astype(np.uint8), Grid(mask.shape, affine))
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Folder of a model of six shells, with limits of doubt that one sign exceeds."""
    settings = KrigingSettings.of({"disc": {"pixel_mm": 4.0}, "calibrated": False, "lengths_mm": [12, 24]})
    found = fit(6, shell, settings).model
    folder = tmp_path_factory.mktemp("models") / "shells"
    write_fitted(folder, tensors_of(found), {**about(found), "licence": "CC0-1.0", "thresholds": LIMITS}, 1.0)
    return folder


@pytest.fixture(scope="session")
def case(model, tmp_path_factory):
    """The folder of a mask with one hole: (folder, what was missing, skull, affine, lines that were said)."""
    skull, missing, affine = holed(SIDE)
    place = tmp_path_factory.mktemp("case")
    lps = np.diag([-1.0, -1, 1, 1]) @ affine  # stored the other way round: the files must lie where this one does
    lps[:3, 3] = affine[:3, 3] + affine[:3, :3] @ [skull.shape[0] - 1, skull.shape[1] - 1, 0]
    stored = np.ascontiguousarray(skull[::-1, ::-1])
    said = []
    options = CaseOptions(formats=("nrrd",), faces=6000)
    predict_case(save(place / NAME, stored, lps), model, place / "out", options, said.append)
    return place / "out", missing[::-1, ::-1], stored, lps, said
