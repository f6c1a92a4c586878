"""Public weights: known by their SHA-256, fetched once or taken from a path, loaded without running anything."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volforge.errors import VolforgeError
from volforge.scratch import scratch_beside, sweep
from volforge.whole_file import FULL, writing

CACHE_VARIABLE = "VOLFORGE_WEIGHTS"


@dataclass(frozen=True)
class PublicWeights:
    """A weights file that others publish.

    Attributes:
        name: Name here.
        url: Where it lies.
        sha256: Its hash: a file of another hash is not accepted.
        use: What it is for.
        licence: Terms, as its publisher states them.
    """

    name: str
    url: str
    sha256: str
    use: str
    licence: str


REGISTRY = {
    w.name: w
    for w in (
        PublicWeights(
            "inception",
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
            "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            "FID and KID: Inception-v3 of the TensorFlow release of 2015-12-05",
            "Apache-2.0 (pytorch-fid)",
        ),
        PublicWeights(
            "alexnet",
            "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
            "LPIPS: AlexNet trained on ImageNet",
            "BSD-3-Clause (torchvision); ImageNet's terms for its images",
        ),
    )
}
# the heads of LPIPS 0.1 for AlexNet (1,152 numbers; BSD-2-Clause) come with this package, as their authors publish them
LPIPS_HEADS_SHA256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"


def cache_folder() -> Path:
    """Where fetched files lie: `VOLFORGE_WEIGHTS`, else `volforge/weights` in the user's cache folder."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "volforge" / "weights"


def cached(name: str) -> Path:
    """Path of a fetched file, there or not."""
    return cache_folder() / f"{name}-{REGISTRY[name].sha256[:8]}.pth"


def find(name: str, given: str | None = None) -> Path | None:
    """A checked weights file: the given path, else the fetched one, else None.

    Raises:
        VolforgeError: The given path does not exist, or a file's hash is not the known one.
    """
    path = Path(given) if given else cached(name)
    if not path.exists():
        if given:
            raise VolforgeError("file not found", given, f"check `weights: {name}`, or leave it empty")
        return None
    return checked(name, path)


def checked(name: str, path: Path) -> Path:
    """The path, where its hash is the known one.

    Raises:
        VolforgeError: It is another file.
    """
    from volforge.volume.folders import sha256_of  # late: the workflow asks for paths only, without numpy

    found = sha256_of(path)
    if found != REGISTRY[name].sha256:
        raise VolforgeError(
            f"not the weights `{name}`: SHA-256 {found}, known is {REGISTRY[name].sha256}",
            str(path),
            f"get {REGISTRY[name].url}",
        )
    return path


def fetch(name: str, source: str | None = None) -> Path:
    """Get a weights file into the cache, from its address or a local copy; it is checked before it appears.

    Args:
        name: A name of the registry.
        source: A file on this machine; None: download.

    Raises:
        VolforgeError: Unknown name, no connection, or another file than the known one.
    """
    if name not in REGISTRY:
        raise VolforgeError(f"unknown weights '{name}'", remedy=f"known: {', '.join(REGISTRY)}")
    from volforge.volume.folders import sha256_of

    target = cached(name)
    if target.exists() and sha256_of(target) == REGISTRY[name].sha256:
        return target
    scratch = scratch_beside(target)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        try:
            _copy(REGISTRY[name].url, scratch) if source is None else scratch.write_bytes(_read(Path(source)))
            checked(name, scratch)
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)
    return target


def _copy(url: str, target: Path) -> None:
    import shutil
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=60) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except OSError as error:
        if error.errno in FULL:
            raise
        remedy = "download it elsewhere and run `volforge weights fetch NAME --from FILE`"
        raise VolforgeError(f"cannot be fetched: {error}", url, remedy, may_pass=True) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise VolforgeError(f"cannot be read: {error}", str(path), "check the path") from error


def load_state(path: Path) -> dict[str, Any]:
    """A state dict from a .pth file; only tensors are read, nothing runs (`weights_only`).

    Raises:
        VolforgeError: The file holds something else.
    """
    import pickle

    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError,
            OSError, MemoryError, OverflowError) as error:  # fmt: skip
        raise VolforgeError(f"not a file of plain weights: {error}", str(path), "get it anew") from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise VolforgeError("not a file of plain weights: no table of tensors", str(path), "get it anew")
    return dict(state)


def read_tensors(path: Path) -> dict[str, Any]:
    """Tensors by name of a safetensors file.

    Raises:
        VolforgeError: It is damaged, or something else.
    """
    from safetensors.torch import load_file

    with _of_tensors(path):
        return dict(load_file(path))


def read_arrays(path: Path) -> dict[str, Any]:
    """Arrays by name of a safetensors file, without torch.

    Raises:
        VolforgeError: It is damaged, or something else.
    """
    from safetensors.numpy import load_file

    with _of_tensors(path):
        return dict(load_file(path))


@contextmanager
def _of_tensors(path: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        text = f"not a safetensors file, or damaged: {error}"
        raise VolforgeError(text, str(path), "copy the model's folder anew") from error


def fill(network: Any, state: Mapping[str, Any], where: Path) -> Any:
    """A network with a state dict in it.

    Raises:
        VolforgeError: It is the state of another network.
    """
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError) as error:
        text = f"the weights do not fit the network: {error}"
        raise VolforgeError(text, str(where), "use the version that made them") from error
    return network


def lpips_heads() -> Path:
    """The file of LPIPS heads for AlexNet, `weights/v0.1/alex.pth` of the package lpips.

    Source: Zhang et al. 2018, version 0.1; its terms lie beside it.

    Raises:
        VolforgeError: It is missing or damaged.
    """
    from volforge.volume.folders import sha256_of

    path = Path(__file__).parent / "networks" / "lpips_heads.pth"
    if not path.exists() or sha256_of(path) != LPIPS_HEADS_SHA256:
        raise VolforgeError("not the known heads of LPIPS", str(path), "install volforge anew")
    return path
