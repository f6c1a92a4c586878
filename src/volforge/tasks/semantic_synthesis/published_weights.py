"""Published generators of semantic synthesis as models of ours, where a user has the files.

Two generators are known: that of OASIS, and the one on wavelets (`best_EMA.pth`, `latest_G.pth` ... of the folder
`checkpoints/<name>/models`; docs/published-weights.md). Which one a file holds, and its width, are read off its shapes.
Layers go by the names that code for such blocks gives them (`conv_0`, `norm_s`, `mlp_gamma` ...), else by their order.

What differs, and is made equal: the published slices lie on their side (rows run from right to left of the patient), so
that kernels are transposed; three equal channels of grey become their mean; channels of labels that no map ever had (38
were kept whatever the data) are left out. Nothing of a file is run. No published file was at hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volforge.errors import VolforgeError
from volforge.networks.published_state import Slot, from_published, layers_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from volforge.networks.published_state import Layer

LABELS, GREY, NOISE = 38, 3, 64  # channels of the published networks
MOOSE = (
    "adrenals", "aorta", "bladder", "brain", "heart", "kidneys", "liver", "pancreas", "spleen", "thyroid",
    "inferior_vena_cava", "lung", "carpal", "clavicle", "femur", "fibula", "humerus", "metacarpal", "metatarsal",
    "patella", "pelvis", "phalanges_hand", "radius", "ribcage", "scapula", "skull", "spine", "sternum", "tarsal",
    "tibia", "phalanges_feet", "ulna", "skeletal_muscle", "subcutaneous_fat", "torso_fat", "psoas",
)  # fmt: skip
SYNTHRAD = (
    "kidney", "vessels", "gallbladder", "liver", "stomach", "pancreas", "adrenal", "lung", "vertebrae", "esophagus",
    "trachea", "heart", "pulmonary_artery", "small_bowel", "duodenum", "colon", "ribs", "humerus", "scapula",
    "clavicula", "femur", "hips", "sacrum", "autochthon", "iliopsoas", "urinary_bladder", "skin", "spleen",
    "fat", "skeletal_muscle",
)  # fmt: skip
PARTS = {"ct": MOOSE, "mr": SYNTHRAD}
"""Structures by what is painted, in the order of their ids, from 1."""
SPACING_MM = {"ct": 2.036, "mr": 1.8}  # the latter is about what pelves padded to a square have in 256 pixels
SIZE = [256, 256]
NORMS = ("norm", ""), ("shared", "mlp_shared"), ("scale", "mlp_gamma"), ("shift", "mlp_beta")


@dataclass(frozen=True)
class Published:
    """A generator that was published, as one of ours.

    Attributes:
        spec: Name and keywords of the network.
        classes: Channels of labels, background included.
        state: Its weights by our names, float32, for upright slices of one channel.
    """

    spec: Mapping[str, Any]
    classes: int
    state: Mapping[str, Tensor]

    def network(self) -> nn.Module:
        """The generator with these weights, in eval mode."""
        from volforge import components

        made: nn.Module = components.build("network", self.spec, channels=1, classes=self.classes)
        made.load_state_dict(dict(self.state))
        return made.eval()


def read_generator(state: Mapping[str, Tensor], classes: int = LABELS, where: str = "") -> Published:
    """A published state dict by our names.

    Args:
        state: Tensors by published names.
        classes: Channels of labels to keep, background included: those of the maps that it was trained with.
        where: The file, for messages.

    Raises:
        VolforgeError: It holds another network, or values that are not finite.
    """
    import torch

    from volforge import components

    kept = {k: v for k, v in state.items() if not _is_haar(k, v, where)}
    theirs = layers_of(kept, where)
    spec = _spec(theirs, where)
    try:
        with torch.device("meta"):
            network = components.build("network", spec, channels=GREY, classes=LABELS)
    except VolforgeError as error:
        raise VolforgeError(error.message, where, "name the file of a published generator") from error
    found = from_published(kept, network, _slots(network, spec), where, "generator (G or EMA)")
    return Published(spec, classes, {k: _as_ours(k, v, spec, found, classes) for k, v in found.items()})


def import_published(path: Path, part: str, out: Path, say: Callable[[str], object] = print) -> None:
    """Make a model's folder of a published file; it appears whole.

    Args:
        path: `.pth` of a generator.
        part: What it paints: `ct` (MOOSE's 36 structures, AutoPET) or `mr` (30 structures, SynthRAD).
        out: Folder to write.
        say: Told what was made.

    Raises:
        VolforgeError: An unknown part; a file that cannot be read, holds more than tensors, or another network.
    """
    from volforge.training.imported import write_imported
    from volforge.weights import load_state

    if part not in PARTS:
        raise VolforgeError(f"unknown part '{part}'", str(path), f"use one of {', '.join(PARTS)}")
    if not path.is_file():
        raise VolforgeError("file not found", str(path), "check the path")
    made = read_generator(load_state(path), 1 + len(PARTS[part]), str(path))
    settings = _settings(part, made)
    about = {**asdict(settings), "channels": settings.channels, "size": SIZE}
    write_imported(out, path, part, made.state, made.network(), about)
    say(str(out))


def _settings(part: str, made: Published) -> Any:
    """Settings of a generator that was trained elsewhere, as the publications say."""
    from volforge.config.models import SliceRecipe
    from volforge.config.training import Training
    from volforge.tasks.semantic_synthesis.options import Synthesis
    from volforge.tasks.semantic_synthesis.settings import SynthesisSettings

    recipe = SliceRecipe(kind="slices", size=SIZE, spacing_mm=SPACING_MM[part])
    classes = [{"structure": n, "side": "", "id": k, "mirrored": k} for k, n in enumerate(PARTS[part], start=1)]
    return SynthesisSettings.of(
        {
            "study": "published", "arm": "published", "model": part, "cohort": "", "by_fold": False,
            "kind": "synthesis", "classes": classes, "recipe": "axial",
            "recipe_settings": recipe.model_dump(mode="json"), "source": {"modality": "CT", "contrast": None},
            "target": {"modality": part.upper(), "contrast": None}, "network": dict(made.spec),
            "synthesis": Synthesis(ignore_background=True).plain(), "training": Training().model_dump(), "own": "",
            "task": "semantic_synthesis", "entry": "",
        }
    )  # fmt: skip


def _is_haar(key: str, value: Tensor, where: str) -> bool:
    """Whether a tensor is a fixed kernel of a Haar transform: two by two, and every value a half.

    Raises:
        VolforgeError: It is the kernel `lh` of another convention, with which sub-bands would be mixed up.
    """
    if tuple(value.shape[-2:]) != (2, 2) or value.numel() != 4 or not bool(((value.abs() - 0.5).abs() < 1e-6).all()):
        return False
    kernel = value.reshape(2, 2)
    if key.endswith("lh") and not bool((kernel[:, 0] == kernel[:, 1]).all()):
        text = f"the sub-band {key} is high along rows, not along columns"
        raise VolforgeError(text, where, "it is no published generator; see docs/published-weights.md")
    return True


def _plain(layers: Mapping[str, Layer]) -> list[tuple[int, ...]]:
    """Shapes of kernels without spectral norm."""
    weights = [layer["weight"] for layer in layers.values() if "weight" in layer]
    return [tuple(w.shape) for w in weights if w.dim() == 4]


def _spec(layers: Mapping[str, Layer], where: str) -> dict[str, Any]:
    """Name and keywords of the generator that a file holds."""
    plain = _plain(layers)
    normed = [tuple(layer["original"].shape) for layer in layers.values() if "original" in layer]
    blocks = sum(s[2:] == (3, 3) for s in normed) // 2
    heads = [s for s in plain if s[0] == (4 * GREY if s[2:] == (1, 1) else GREY)]
    hidden = Counter(s[1] for s in plain).most_common(1)[0][0] if plain else 0
    shared = [s for s in plain if s[0] == hidden and s[1] != hidden]
    if not blocks or len(heads) != 1 or not shared:
        text = f"{len(plain)} plain kernels and {len(normed)} under spectral norm are no published generator"
        raise VolforgeError(text, where, "name the file of a generator: G or EMA, not D or Du")
    given = Counter(s[1] for s in shared).most_common(1)[0][0]
    if given not in (LABELS, LABELS + NOISE):  # those of street scenes have others
        text = f"its conditioning map has {given} channels, not {LABELS} of labels, alone or with {NOISE} of noise"
        raise VolforgeError(text, where, "name a file of the medical runs")
    spec = {"blocks": blocks, "noise": given - LABELS, "hidden": hidden}
    if heads[0][2:] == (3, 3):
        return {"name": "oasis_generator", "width": heads[0][1], **spec}
    idle = sum(s[1] == given and s[0] == hidden for s in plain) > 2 * blocks
    return {"name": "wavelet_generator", "width": heads[0][1] // 4, **spec, "idle": idle, "convolved": True}


def _slots(network: nn.Module, spec: Mapping[str, Any]) -> list[Slot]:
    """Layers of our generator in the order in which the published code makes those of equal shapes."""
    names = set(layers_of(network.state_dict()))
    slots = [Slot("stem", r"(^|\.)fc$"), Slot("head", r"(^|\.)conv_img$")]
    wavelet = spec["name"] == "wavelet_generator"
    inner, past = (".spade", ("past", "idle")) if wavelet else ("", ("past.1", "past.0"))
    for k in range(int(spec["blocks"])):
        block = f"blocks.{k}"
        kernels = ((f"{block}.conv1", "conv_0"), (f"{block}.conv2", "conv_1"), (f"{block}.{past[0]}", "conv_s"))
        slots += [Slot(o, rf"(^|\.){n}$") for o, n in kernels if o in names]
        for ours, known in ((f"first{inner}", "norm_0"), (f"second{inner}", "norm_1"), (f"{past[1]}{inner}", "norm_s")):
            parts = [(f"{block}.{ours}.{o}", rf"(^|\.){known}\..*{n}") for o, n in NORMS]
            slots += [Slot(o, n) for o, n in parts if o in names]
    return slots


def _as_ours(key: str, value: Tensor, spec: Mapping[str, Any], found: Mapping[str, Tensor], classes: int) -> Tensor:
    """One tensor of a generator that lies on its side, for three channels and 38 labels, as one of ours."""
    if key.endswith("0._v"):  # of a kernel as one row
        shape = found[f"{key.removesuffix('0._v')}original"].shape[1:]
        return value.reshape(shape).transpose(-1, -2).reshape(-1).contiguous()
    if value.dim() == 4:
        value = value.transpose(-1, -2)
    if key.startswith("head."):
        # tanh of the mean for the mean of three tanh: the channels were taught to be equal
        value = value.reshape(-1, GREY, *value.shape[1:]).mean(dim=1)
    if key == "stem.weight" or key.endswith("shared.weight"):
        value = value[:, : int(spec["noise"]) + classes]
    return value.contiguous()
