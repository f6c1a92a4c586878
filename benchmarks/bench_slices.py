"""Slices of a CT: written and read by the store, by RGB PNG files (the published pipeline), by zarr.

Store and PNG on one thread, zarr as it comes. The published pipeline stretches every slice to 8 bit and writes it as
RGB PNG; the store keeps HU (int16) by slice.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.rows import Peer, Row, Scale, identical
from benchmarks.volumes import trunk
from volforge.config.models import SliceRecipe
from volforge.volume.cut import stored_values, to_stack
from volforge.volume.legacy_threshold import stretch_slice
from volforge.volume.store import open_array, write_array

READS = 100


def size_of(path: Path) -> float:
    """MiB of a file, or of all files of a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files) / 2**20


def rows(scale: Scale) -> Iterator[Row]:
    shape = scale.of((512, 512, 100), (96, 96, 20))
    volume, count = trunk(shape), shape[2]
    order = np.random.default_rng(1).permutation(np.arange(READS) % count)
    store, pngs, zarrs = (scale.folder / n for n in ("s.b2nd", "png", "s.zarr"))

    def write_store() -> Path:
        stored, _ = stored_values(volume, None, "CT", "hu", SliceRecipe(kind="slices"))
        store.unlink(missing_ok=True)
        write_array(store, to_stack(stored, 2), (1, shape[1], shape[0]))
        return store

    def write_png() -> Path:
        pngs.mkdir(exist_ok=True)
        for k in range(count):
            levels = stretch_slice(volume[:, :, k].T[::-1, ::-1])
            Image.fromarray(np.repeat(levels[:, :, None], 3, axis=2)).save(pngs / f"{k}.png")
        return pngs

    def write_zarr() -> Path:
        import zarr

        shutil.rmtree(zarrs, ignore_errors=True)
        stack = np.ascontiguousarray(to_stack(volume, 2))
        array = zarr.create_array(store=str(zarrs), shape=stack.shape, chunks=(1, *stack.shape[1:]), dtype="i2")
        array[:] = stack
        return zarrs

    def sizes(ours: Path, theirs: Path) -> str:
        return f"{size_of(ours):.1f} MiB, theirs {size_of(theirs):.1f}"

    def as_zarr(ours: Path, theirs: Path) -> str:
        import zarr

        values = np.clip(zarr.open_array(str(theirs), mode="r")[:], -1024, 1500)  # the recipe's own range
        return f"{identical(open_array(ours)[:], values)}; {sizes(ours, theirs)}"

    def as_png(ours: Path, theirs: Path) -> str:
        middle = np.asarray(Image.open(theirs / f"{count // 2}.png"))[:, :, 0]
        identical(stretch_slice(to_stack(volume, 2)[count // 2]), middle)
        return f"8 bit of the same; {sizes(ours, theirs)}"

    size = "x".join(map(str, shape))
    zarr_peer = {"needs": ("zarr",)}
    yield Row(
        f"CT of {size} cut into slices and written",
        write_store,
        (
            Peer("RGB PNG, 8 bit, stretched by slice", write_png, as_png, least=10.0),
            Peer("zarr, its default codec, same chunks", write_zarr, as_zarr, **zarr_peer),
        ),
    )

    def read_store() -> list[np.ndarray]:
        array = open_array(store)
        return [array[int(k)] for k in order]

    def read_png() -> list[np.ndarray]:
        return [np.asarray(Image.open(pngs / f"{k}.png").convert("RGB")) for k in order]

    def read_zarr() -> list[np.ndarray]:
        import zarr

        array = zarr.open_array(str(zarrs), mode="r")
        return [array[int(k)] for k in order]

    def slices_alike(ours: list[np.ndarray], theirs: list[np.ndarray]) -> str:
        for a, b in zip(ours, theirs, strict=True):
            identical(a.reshape(b.shape), np.clip(b, -1024, 1500))
        return "equal"

    def in_8_bit(ours: list[np.ndarray], theirs: list[np.ndarray]) -> str:
        stack = to_stack(volume, 2)
        assert len(ours) == len(theirs)
        for k, b in zip(order[:10], theirs, strict=False):
            identical(stretch_slice(stack[int(k)]), b[:, :, 0])
        return "8 bit of the same"

    yield Row(
        f"{READS} slices of it read in random order",
        read_store,
        (
            Peer("RGB PNG", read_png, in_8_bit, least=5.0),
            Peer("zarr", read_zarr, slices_alike, **zarr_peer),
        ),
    )
