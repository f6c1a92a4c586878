"""Holes of a mask filled by vote, as the published preparation of MR masks did (Ge et al., SPIE 10949, 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volforge.errors import ScanError, VolforgeError
from volforge.volume.geometry import Array
from volforge.volume.read import read_volume
from volforge.volume.source_volume import scaled
from volforge.volume.straighten import onto_planes
from volforge.volume.write import write_nifti
from volforge.whole_file import refuse_places


@dataclass(frozen=True)
class Voting:
    """How holes are filled; the defaults are the published ones.

    Attributes:
        radius: Of the neighbourhood in voxels along each axis; 1 is 3 x 3 x 3.
        majority: Votes over half of the neighbours that make a voxel.
        sweeps: Most sweeps of one call.
        calls: Most calls; 1 + 30 were published.
    """

    radius: tuple[int, int, int] = (1, 1, 1)
    majority: int = 1
    sweeps: int = 10
    calls: int = 31

    def __post_init__(self) -> None:
        if min(self.radius) < 0 or max(self.radius) < 1 or self.majority < 0 or min(self.sweeps, self.calls) < 1:
            raise VolforgeError("no such vote", str(self), "radius of 1 or more voxels, majority from 0, counts from 1")

    @property
    def needed(self) -> int:
        """Neighbours in the mask from which on a voxel joins it; 14 of 27 as published."""
        return (int(np.prod([2 * r + 1 for r in self.radius])) - 1) // 2 + self.majority


def fill_by_vote(mask: Array, how: Voting | None = None) -> Array:
    """Let voxels join a mask whose neighbours are in it by majority, again and again.

    ITK's VotingBinaryIterativeHoleFillingImageFilter, through SimpleITK. No voxel leaves the mask. Beyond the grid its
    outermost voxels go on.

    Args:
        mask: (X, Y, Z) bool.
        how: The vote.

    Returns:
        (X, Y, Z) bool. It ends at the first call that changes nothing.
    """
    import SimpleITK as sitk

    how = how or Voting()
    vote = sitk.VotingBinaryIterativeHoleFillingImageFilter()
    vote.SetNumberOfThreads(1)
    vote.SetRadius(list(how.radius))
    vote.SetMajorityThreshold(how.majority)
    vote.SetMaximumNumberOfIterations(how.sweeps)
    vote.SetForegroundValue(1.0)
    vote.SetBackgroundValue(0.0)
    before = np.ascontiguousarray(mask.transpose(2, 1, 0)).astype(np.uint8)
    for _ in range(how.calls):
        after = sitk.GetArrayFromImage(vote.Execute(sitk.GetImageFromArray(before)))
        if np.array_equal(after, before):
            break
        before = after
    return before.transpose(2, 1, 0).astype(bool)


def fill_file(path: Path, out: Path, how: Voting | None = None) -> tuple[int, int]:
    """Fill the holes of a mask in a file; the result lies on the file's own grid.

    Args:
        path: A binary volume.
        out: NIfTI file to write, uint8 of 0 and 1.
        how: The vote.

    Returns:
        Voxels of the mask before and after.

    Raises:
        ScanError: It is no mask.
        VolforgeError: `out` is no NIfTI file.
    """
    if not out.name.lower().endswith(".nii.gz"):
        raise VolforgeError("masks are written as NIfTI", str(out), "call it .nii.gz")
    refuse_places({"--out": out}, {"the mask": path})
    source = read_volume(path, labels=True)
    values = scaled(source)
    found = [v for v in np.unique(values) if v != 0]
    if len(found) != 1:
        text = "the mask is empty" if not found else f"a mask has one value beside 0, this has {len(found)}"
        raise ScanError(text, str(path), "give a binary volume")
    mask = values != 0
    filled = fill_by_vote(mask, how)
    if source.planes is not None:  # slices that were straightened: back to where they lay
        filled = onto_planes(filled, source.grid, source.planes, nearest=True, outside=0)
    write_nifti(out, filled.astype(np.uint8), source.grid, source.header or None)
    return int(mask.sum()), int(filled.sum())
