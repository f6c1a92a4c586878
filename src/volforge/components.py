"""Networks and losses by name, or of the user's own file; their keywords are checked without importing torch."""

from __future__ import annotations

import ast
import difflib
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from volforge.errors import VolforgeError

Kind = Literal["network", "loss"]
NAMES: dict[Kind, dict[str, str]] = {
    "network": {
        "unet3d": "volforge.networks.unet3d:UNet3D",
        "vnet": "volforge.networks.vnet:VNet",
        "monai_unet": "volforge.networks.monai_unet:MonaiUNet",
        "residual_unet": "volforge.networks.residual_unet:ResidualUNet",
        "oasis_generator": "volforge.networks.oasis_generator:OasisGenerator",
        "wavelet_generator": "volforge.networks.wavelet_generator:WaveletGenerator",
        "oasis_segmenter": "volforge.networks.oasis_segmenter:OasisSegmenter",
        "wavelet_discriminator": "volforge.networks.wavelet_discriminator:WaveletDiscriminator",
        "cranial_autoencoder": "volforge.networks.cranial_autoencoder:CranialAutoencoder",
        "cranial_discriminator": "volforge.networks.cranial_discriminator:CranialDiscriminator",
        "c2f_n1": "volforge.networks.c2f_n1:CoarseN1",
        "c2f_n2": "volforge.networks.c2f_n2:FineN2",
        "resnet_generator": "volforge.networks.resnet_generator:ResnetGenerator",
        "image_unet": "volforge.networks.image_unet:ImageUNet",
        "patch_discriminator": "volforge.networks.patch_discriminator:PatchDiscriminator",
        "shape_unet": "volforge.networks.shape_unet:ShapeUNet",
    },
    "loss": {
        "ce": "volforge.losses.cross_entropy:CrossEntropy",
        "dice": "volforge.losses.dice:SoftDice",
        "dice_hardforward": "volforge.losses.dice:HardForwardDice",
        "dice_ce": "volforge.losses.combined:DiceCE",
        "dice_hardforward_ce": "volforge.losses.combined:HardForwardDiceCE",
        "boundary": "volforge.losses.boundary:BoundaryLoss",
        "dice_boundary": "volforge.losses.boundary:DiceBoundary",
        "value_mse": "volforge.losses.values:ValueMSE",
        "value_dice": "volforge.losses.values:ValueDice",
        "value_boundary": "volforge.losses.values:ValueBoundary",
        "value_mse_boundary": "volforge.losses.values:ValueMSEBoundary",
        "value_dice_boundary": "volforge.losses.values:ValueDiceBoundary",
    },
}
OWN_CODE = "VOLFORGE_OWN_CODE"  # Python files that models may name, as the workflow sets it from its configuration
# what the task says, not the user
GIVEN = {"network": ("channels", "outputs", "classes", "spacing_mm", "size"), "loss": ()}


def check(kind: Kind, spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with a network or a loss: pairs of message and remedy.

    Args:
        kind: `network` or `loss`.
        spec: `name` and keywords.
    """
    try:
        file, name = _place(kind, str(spec["name"]))
        allowed, needed, _ = _signature(file, name)
    except VolforgeError as error:
        return [(error.message, error.remedy)]
    found = []
    own = [a for a in allowed if a not in GIVEN[kind]]
    for key in spec:
        if key != "name" and key not in own:
            near = difflib.get_close_matches(key, own, n=1)
            remedy = f"did you mean '{near[0]}'?" if near else f"keywords: {', '.join(own) or 'none'}"
            found.append((f"{kind} '{spec['name']}' has no keyword '{key}'", remedy))
    for key in needed:
        if key not in spec and key not in GIVEN[kind]:
            found.append((f"{kind} '{spec['name']}' needs the keyword '{key}'", f"add `{key}:`"))
    return found


def needs_distance(spec: Mapping[str, Any]) -> bool:
    """Whether a loss needs distance maps, read from its class without importing it."""
    return _signature(*_place("loss", str(spec["name"])))[2]


def build(kind: Kind, spec: Mapping[str, Any], **given: Any) -> Any:
    """Make a network or a loss.

    Args:
        kind: `network` or `loss`.
        spec: `name` and keywords.
        given: What the task says (`channels`, `outputs`, `classes`, `spacing_mm`, `size`), as far as the constructor
            takes it.

    Raises:
        VolforgeError: The keywords do not fit, or the constructor refuses them.
    """
    problems = check(kind, spec)
    if problems:
        raise VolforgeError(*_joined(problems))
    file, name = _place(kind, str(spec["name"]))
    allowed = _signature(file, name)[0]
    try:
        found = _class_of(kind, str(spec["name"]), file, name)
        keywords = {k: v for k, v in spec.items() if k != "name"}
        return found(**{k: v for k, v in given.items() if k in allowed}, **keywords)
    except (TypeError, ValueError) as error:
        raise VolforgeError(str(error), f"{kind} '{spec['name']}'", "mend its keywords") from error


def module_of(kind: Kind, spec: Mapping[str, Any]) -> str:
    """The module of a network or a loss of ours, empty for the user's own file."""
    return NAMES[kind][str(spec["name"])].split(":")[0] if spec["name"] in NAMES[kind] else ""


def name_own_code(files: Iterable[str]) -> None:
    """Say to jobs that are started from here which Python files models may name (`refuse_unnamed`)."""
    already = filter(None, os.environ.get(OWN_CODE, "").split(os.pathsep))
    named = dict.fromkeys([*already, *(os.path.abspath(f) for f in files)])
    if named:
        os.environ[OWN_CODE] = os.pathsep.join(named)


def refuse_unnamed(about: Mapping[str, Any], where: Path) -> None:
    """Refuse a trained model that names a Python file which nobody but the model has named.

    A configuration that names a file runs it; a model's folder, which may come from anywhere, does not. The workflow
    names the files of its configuration in `VOLFORGE_OWN_CODE`; by hand a user does.

    Args:
        about: Content of model.json.
        where: The model's folder, for messages.

    Raises:
        VolforgeError: It names another file.
    """
    spec = about.get("network")
    name = str(spec.get("name", "")) if isinstance(spec, Mapping) else ""
    if name in NAMES["network"] or ":" not in name:
        return
    file = name.rsplit(":", 1)[0]
    named = filter(None, os.environ.get(OWN_CODE, "").split(os.pathsep))
    if os.path.realpath(file) not in map(os.path.realpath, named):
        raise VolforgeError(
            f"the model would run the Python file {file}, which its description alone names",
            str(where),
            f"read that file, and if you trust it set {OWN_CODE}={file}",
        )


def file_hash(kind: Kind, spec: Mapping[str, Any]) -> str:
    """Hash of the user's own file, empty for what is ours (the code hash covers that)."""
    name = str(spec["name"])
    return "" if name in NAMES[kind] else hashlib.sha256(_place(kind, name)[0].read_bytes()).hexdigest()[:16]


def _joined(problems: list[tuple[str, str]]) -> tuple[str, str, str]:
    return "; ".join(p for p, _ in problems), "", problems[0][1]


def _place(kind: Kind, name: str) -> tuple[Path, str]:
    """File and class of a name."""
    if name in NAMES[kind]:
        module, found = NAMES[kind][name].split(":")
        return Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py"), found
    if ":" in name:
        path, found = name.rsplit(":", 1)
        if not Path(path).is_file():
            raise VolforgeError(f"file not found: {path}", "", "paths of own classes start from the working directory")
        return Path(path), found
    near = difflib.get_close_matches(name, list(NAMES[kind]), n=1)
    remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(NAMES[kind])}, or file.py:Class"
    raise VolforgeError(f"no {kind} '{name}'", "", remedy)


def _signature(file: Path, name: str) -> tuple[list[str], list[str], bool]:
    """Keywords, those without a default, and whether the class says `needs_distance = True`."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise VolforgeError(f"not valid Python: {error}", str(file), "mend the file") from error
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            distance = any(
                isinstance(n, (ast.Assign, ast.AnnAssign))
                and any(
                    isinstance(t, ast.Name) and t.id == "needs_distance"
                    for t in (n.targets if isinstance(n, ast.Assign) else [n.target])
                )
                and isinstance(n.value, ast.Constant)
                and bool(n.value.value)
                for n in node.body
            )
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                    every = [a.arg for a in item.args.args[1:]]
                    needed = every[: len(every) - len(item.args.defaults)]
                    only = [a.arg for a in item.args.kwonlyargs]
                    needed += [a for a, d in zip(only, item.args.kw_defaults, strict=True) if d is None]
                    return every + only, needed, distance
            return [], [], distance
    raise VolforgeError(f"no class '{name}' in {file}", "", "write file.py:Class")


def _class_of(kind: Kind, name: str, file: Path, found: str) -> Any:
    import importlib
    import importlib.util

    if name in NAMES[kind]:
        return getattr(importlib.import_module(NAMES[kind][name].split(":")[0]), found)
    spec = importlib.util.spec_from_file_location(f"volforge_own_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, found)
