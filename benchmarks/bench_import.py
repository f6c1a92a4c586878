"""A gzip NIfTI read into RAS and written again, against nibabel, SimpleITK, and bare inflation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.rows import Peer, Row, Scale, identical
from benchmarks.volumes import trunk
from volforge.volume.geometry import Grid, reorientation_of

LPS = np.diag([-0.8, -0.8, 1.5, 1.0])  # as most converters write it: two axes are turned


def ours(path: Path) -> np.ndarray:
    """Values in RAS, as the import stage has them."""
    from volforge.volume.read import read_volume
    from volforge.volume.source_volume import scaled

    source = read_volume(path, labels=False)
    return np.asfortranarray(reorientation_of(source.grid.affine).apply(scaled(source)))


def by_nibabel(path: Path) -> np.ndarray:
    import nibabel as nib

    return np.asfortranarray(np.asanyarray(nib.as_closest_canonical(nib.load(path)).dataobj))


def by_simpleitk(path: Path) -> np.ndarray:
    import SimpleITK as sitk

    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0)


def bare_inflation(path: Path) -> int:
    from isal import igzip

    return len(igzip.decompress(path.read_bytes()))


def rows(scale: Scale) -> Iterator[Row]:
    import nibabel as nib
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    shape = scale.of((512, 512, 160), (64, 64, 20))
    volume, path = trunk(shape), scale.folder / "ct.nii.gz"
    nib.save(nib.Nifti1Image(volume, LPS), path)
    size = "x".join(map(str, shape))

    def holds_all(values: np.ndarray, count: int) -> str:
        assert count == values.nbytes + 352
        return "all bytes"

    yield Row(
        f"gzip NIfTI of {size}, int16, into RAS",
        lambda: ours(path),
        (
            Peer("nibabel", lambda: by_nibabel(path)),
            Peer("SimpleITK", lambda: by_simpleitk(path)),
            Peer("bare inflation by isal", lambda: bare_inflation(path), holds_all, is_limit=True),
        ),
    )
    grid = Grid(shape, LPS)
    own, other, third = (scale.folder / f"{n}.nii.gz" for n in ("own", "nibabel", "itk"))

    def write() -> Path:
        from volforge.volume.write import write_nifti

        write_nifti(own, volume, grid)
        return own

    def write_nibabel() -> Path:
        nib.save(nib.Nifti1Image(volume, LPS), other)
        return other

    def write_simpleitk() -> Path:
        sitk.WriteImage(sitk.GetImageFromArray(volume.transpose(2, 1, 0)), str(third), useCompression=True)
        return third

    def bare_deflation() -> Path:
        from isal import igzip

        own.with_suffix(".bare").write_bytes(igzip.compress(volume.tobytes(order="F"), 2, mtime=0))
        return own

    def read_alike(a: Path, b: Path) -> str:
        megabytes = [p.stat().st_size / 2**20 for p in (a, b)]
        identical(np.asanyarray(nib.load(a).dataobj), np.asanyarray(nib.load(b).dataobj))
        return f"equal when read again; {megabytes[0]:.1f} MiB, theirs {megabytes[1]:.1f}"

    yield Row(
        f"the same volume written as gzip NIfTI, {size}",
        write,
        (
            Peer("nibabel", write_nibabel, read_alike),
            Peer("SimpleITK", write_simpleitk, read_alike),
            Peer("bare compression by isal", bare_deflation, read_alike, is_limit=True),
        ),
    )
