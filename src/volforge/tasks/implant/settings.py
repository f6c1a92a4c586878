"""`<model>.train.json` of a model of implants: all that its training reads, and what its `model.json` repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from volforge.inference.model_settings import ResolvedModel
from volforge.tasks.implant.grids import Frame, cap_frame
from volforge.volume.geometry import Array, Grid


@dataclass(frozen=True)
class ImplantSettings(ResolvedModel):
    """A model as resolved.

    Attributes:
        kind: `implant`.
        implant: What it predicts, and how it sees a skull; as in the configuration.
        needs: The models that it needs, in the words of the configuration.
        network, loss: Name and keywords.
        training: As in the configuration.
        own: Hashes of the user's own files.
        task, entry: The task that it belongs to, and the place of what trained it.
    """

    what: ClassVar[str] = "the settings of a model of implants"

    implant: Mapping[str, Any]
    needs: tuple[str, ...]
    network: Mapping[str, Any]
    loss: Mapping[str, Any]
    training: Mapping[str, Any]
    own: str = ""
    task: str = ""
    entry: str = ""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """From plain values; keys that are no settings are left out."""
        names = {f.name for f in fields(cls)}
        given = {k: v for k, v in content.items() if k in names}
        return cls(**{**given, "needs": tuple(given["needs"])})

    @property
    def sees(self) -> str:
        """`cap`, `patches`, `box` or `windows`."""
        return str(self.implant["sees"])

    @property
    def patch(self) -> tuple[int, int, int]:
        """Voxels that the network sees at a time."""
        a, b, c = self.implant["size"] if self.sees in ("cap", "box") else self.training["patch"]
        return int(a), int(b), int(c)

    @property
    def wants(self) -> list[str]:
        """Channels beside the defective skull."""
        return list(self.implant["channels"]) if self.sees == "windows" else []

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return 1 + len(self.wants)

    def frame(self, skull: Array, grid: Grid, where: str = "") -> Frame:
        """The frame that a skull is held in: that of the network for `cap`, else the cap at its voxels.

        Args:
            skull: (X, Y, Z) bone.
            grid: Its grid.
            where: The scan, for the message.
        """
        own = self.implant
        size: Sequence[int] | None = self.patch if self.sees == "cap" else None
        return cap_frame(
            skull,
            grid,
            size=size,
            cap_mm=own["cap_mm"],
            margin_mm=own["margin_mm"],
            field=own["field"],
            spacing_mm=own["spacing_mm"],
            where=where,
        )
