"""The published networks of the jaw joint as models of ours, where a user has the files.

Four sets were published (docs/published-weights.md): a V-Net that finds the joints; U-Net and V-Net of negative
volumes; U-Net, U-Net with attention gates, and V-Net of the condyle and of the temporal bone. A file holds the state
dict of one network, `<network>_<epochs>e_<fold>.pth`; which network it is, and its width, are read off its shapes.

The published networks see arrays [z, y, x] of pictures: y runs to the back, x to the patient's left. Ours see
(R, A, S), so that kernels are transposed and turned around along x and y. Which way slices are counted was never said:
upwards is taken, or downwards where the part says so (`condyle:downwards`). Nothing of a file is run. No published
file was at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volforge.errors import VolforgeError
from volforge.networks.published_state import Slot, from_published, layers_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from volforge.networks.published_state import Layer

PARTS = ("localiser", "condyle", "temporal_bone", "negative_volume")
IDS = {
    "condyle": {"left": 1, "right": 2},
    "temporal_bone": {"left": 3, "right": 4},
    "negative_volume": {"left": 5, "right": 6},
}
CLASSES = 2
ORDERS = ("upwards", "downwards")
SPACING_MM, COARSE_MM = 0.4, 2.0
WINDOW_HU = (-1000.0, 2000.0)  # the published window is each region's own range
COARSE_PATCH = [128, 128, 128]
REGIONS: dict[str, tuple[list[int], list[float], list[int]]] = {  # size, offset of the box in mm, patch
    "condyle": ([150, 120, 70], [0.0, 0.0, 0.0], [144, 112, 64]),
    "temporal_bone": ([160, 96, 64], [0.0, 0.0, 8.0], [144, 80, 64]),
    "negative_volume": ([150, 120, 70], [0.0, 0.0, 0.0], [144, 112, 64]),
}
DILATE_MM = 5.0
# no usual place is known: a component counts for the side that it lies on
PRIOR = {"left": [0.3, 0.5, 0.5], "right": [0.7, 0.5, 0.5]}
VNET_NAMES = ((32, 2), (64, 3), (128, 3), (256, 3)), ((256, 3), (128, 3), (64, 2), (32, 1))
"""Of the published blocks down and up, coarsest last and first: the number in the name, and convolutions."""


@dataclass(frozen=True)
class Published:
    """A network that was published, as one of ours.

    Attributes:
        spec: Name and keywords of the network.
        state: Its weights by our names, float32, for volumes along R, A, S.
    """

    spec: Mapping[str, Any]
    state: Mapping[str, Tensor]

    def network(self) -> nn.Module:
        """The network with these weights, in eval mode; it gives logits, where the published one gave shares."""
        from volforge import components

        made: nn.Module = components.build("network", self.spec, channels=1, classes=CLASSES)
        made.load_state_dict(dict(self.state))
        return made.eval()


def read_network(state: Mapping[str, Tensor], order: str = "upwards", where: str = "") -> Published:
    """A published state dict by our names.

    Args:
        state: Tensors by published names.
        order: Which way the slices of its training were counted.
        where: The file, for messages.

    Raises:
        VolforgeError: It holds another network, or values that are not finite.
    """
    import torch

    from volforge import components

    theirs = layers_of(state, where)
    spec, slots = _vnet(theirs, where) if _kernels(theirs, 5) else _unet(theirs, where)
    try:
        with torch.device("meta"):
            network = components.build("network", spec, channels=1, classes=CLASSES)
    except VolforgeError as error:
        raise VolforgeError(error.message, where, "name a file of the published networks") from error
    found = from_published(state, network, slots, where, f"{spec['name']} of the jaw joint")
    turned = [2, 3, 4] if order == "downwards" else [3, 4]
    return Published(spec, {k: _turned(v, turned) if v.dim() == 5 else v for k, v in found.items()})


def _turned(kernel: Tensor, axes: list[int]) -> Tensor:
    """A kernel along (z, y, x) as one along (R, A, S)."""
    return kernel.flip(axes).permute(0, 1, 4, 3, 2).contiguous()


def import_published(path: Path, part: str, out: Path, say: Callable[[str], object] = print) -> None:
    """Make a model's folder of a published file; it appears whole.

    `model.json` has the settings of a trained model at the paper's size, and `imported`: file, SHA-256, part.

    Args:
        path: `.pth`.
        part: What it finds: `localiser`, `condyle`, `temporal_bone` or `negative_volume`; with `:downwards` where
            slices were counted from the top.
        out: Folder to write.
        say: Told what was made.

    Raises:
        VolforgeError: An unknown part; a file that cannot be read, holds more than tensors, or another network.
    """
    from volforge.training.imported import write_imported
    from volforge.weights import load_state

    name, _, order = part.partition(":")
    if name not in PARTS or (order or ORDERS[0]) not in ORDERS:
        remedy = f"use one of {', '.join(PARTS)}, or one of them with `:downwards`"
        raise VolforgeError(f"unknown part '{part}'", str(path), remedy)
    if not path.is_file():
        raise VolforgeError("file not found", str(path), "check the path")
    made = read_network(load_state(path), order or ORDERS[0], str(path))
    settings = _settings(name, made)
    region = REGIONS.get(name)
    about = {
        **asdict(settings),
        "patch": region[2] if region else COARSE_PATCH,
        "channels": settings.channels,
        "prior": None if region else PRIOR,
        "import": {"background": "air", "body_mask": {}, "modality": "CT", "unit": "hu"},
    }
    write_imported(out, path, part, made.state, made.network(), about)
    say(str(out))


def _settings(part: str, made: Published) -> Any:
    """Settings of a model that was trained elsewhere, at the paper's size (config/papers/negative_volume.yaml)."""
    from volforge.config.models import HuWindow, RegionRecipe
    from volforge.config.training import Training
    from volforge.inference.model_settings import ModelSettings

    found = REGIONS.get(part)
    spacing = [SPACING_MM if found else COARSE_MM] * 3
    window = HuWindow(kind="hu", low=WINDOW_HU[0], high=WINDOW_HU[1])
    recipe = RegionRecipe(kind="region", around="image", margin_mm=0, spacing_mm=spacing, ct_window=window)
    structure = part if found else "condyle"
    region = None
    if found:
        region = {
            "around": "condyle", "size": found[0], "offset_mm": found[1], "jitter_mm": 0.0, "mirror": False,
            "ids": IDS["condyle"],
        }  # fmt: skip
    return ModelSettings.of(
        {
            "study": "published", "arm": "published", "model": part, "cohort": "", "by_fold": False,
            "kind": "structures" if found else "localiser",
            "classes": [{"structure": structure, "side": "", "ids": IDS[structure]}],
            "recipe": "head" if found else "head_coarse", "recipe_settings": recipe.model_dump(mode="json"),
            "region": region, "dilate_mm": DILATE_MM, "network": dict(made.spec), "loss": {"name": "dice_ce"},
            "training": Training(patch=found[2] if found else COARSE_PATCH).model_dump(), "own": "",
            "task": "segmentation", "entry": "",
        }
    )  # fmt: skip


def _kernels(layers: Mapping[str, Layer], size: int) -> list[str]:
    """Layers with cubic kernels of a size, in their order."""
    weights = {n: layer["weight"] for n, layer in layers.items() if "weight" in layer}
    return [n for n, w in weights.items() if tuple(w.shape[2:]) == (size,) * 3]


def _unet(layers: Mapping[str, Layer], where: str) -> tuple[dict[str, Any], list[Slot]]:
    """Spec and slots of the U-Net, with gates where it has more than one kernel of a single voxel."""
    threes, ones = _kernels(layers, 3), _kernels(layers, 1)
    levels, rest = divmod(len(threes) + 2, 4)
    heads = [int(layers[n]["weight"].shape[1]) for n in ones if layers[n]["weight"].shape[0] == CLASSES]
    if rest or levels < 2 or not heads:
        text = f"{len(threes)} layers with kernels of 3 x 3 x 3 and {len(ones)} of one voxel are no published network"
        raise VolforgeError(text, where, "name the file of a U-Net or V-Net of the jaw joint")
    gated = len(ones) > 1
    slots = []
    for k in range(levels):
        slots += _double(f"down.{k}", rf"^encoders\.{k}\.")
    for k in range(levels - 1):
        slots += _double(f"up.{k}", rf"^decoders\.{k}\.")
        for ours, known in (("gating", "W_g"), ("skip", "W_x"), ("alpha", "psi")) if gated else ():
            slots += [Slot(f"gates.{k}.{ours}.{n}", rf"^decoders\.{k}\.attention\.{known}\.{n}$") for n in (0, 1)]
    slots.append(Slot("head", r"^final_conv$"))
    return {"name": "unet3d", "width": heads[-1], "levels": levels, **({"attention": True} if gated else {})}, slots


def _double(ours: str, known: str) -> list[Slot]:
    """Two convolutions with their norms."""
    inner = (("0", "conv"), ("2", "groupnorm"))
    return [Slot(f"{ours}.{n}.{o}", rf"{known}.*SingleConv{n + 1}\.{k}$") for n in (0, 1) for o, k in inner]


def _vnet(layers: Mapping[str, Layer], where: str) -> tuple[dict[str, Any], list[Slot]]:
    """Spec and slots of the V-Net: in every block both rectifiers come before the convolutions."""
    twos = _kernels(layers, 2)
    fives = [layers[n]["weight"] for n in _kernels(layers, 5)]
    widths, levels = [int(w.shape[0]) for w in fives if w.shape[1] == 1], len(twos) // 2 + 1
    if len(twos) % 2 or not 2 <= levels <= 5 or not widths:
        text = f"{len(twos)} layers with kernels of 2 x 2 x 2 are no published V-Net"
        raise VolforgeError(text, where, "name the file of a V-Net of the jaw joint")
    down, up = VNET_NAMES[0][: levels - 1], VNET_NAMES[1][5 - levels :]
    slots = [Slot("first.0", r"^in_tr\.conv1$"), Slot("first.1", r"^in_tr\.bn1$"), Slot("first_act", r"^in_tr\.relu1$")]
    for side, blocks in (("down", down), ("up", up)):
        for k, (number, convolutions) in enumerate(blocks):
            known = rf"^{side}_tr{number}\."
            inner = [("0", rf"{side}_conv"), ("1", "bn1"), ("2", "relu1")]
            slots += [Slot(f"{side}.{k}.{side}.{o}", rf"{known}{n}$") for o, n in inner]
            slots.append(Slot(f"{side}.{k}.last", rf"{known}relu2$"))
            for j in range(convolutions):
                unit = [("2", "relu1"), ("0", "conv1"), ("1", "bn1")]
                slots += [Slot(f"{side}.{k}.convolutions.{j}.{o}", rf"{known}ops\.{j}\.{n}$") for o, n in unit]
    last = [("last.0", "conv1"), ("last.1", "bn1"), ("last.3", "conv2"), ("last.2", "relu1")]
    slots += [Slot(o, rf"^out_tr\.{n}$") for o, n in last]
    return {"name": "vnet", "width": widths[0], "levels": levels}, slots
