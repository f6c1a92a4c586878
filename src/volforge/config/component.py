"""Networks and losses as the configuration names them."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from volforge.config.model import Model
from volforge.config.scalars import with_number

StructureName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]


def _each_once(names: list[str]) -> list[str]:
    twice = [n for i, n in enumerate(names) if n in names[:i]]
    if twice:
        raise ValueError(f"'{twice[0]}' stands twice")
    return names


StructureNames = Annotated[list[StructureName], AfterValidator(_each_once)]


class Component(Model):
    """A network or a loss: its name and the keywords of its constructor."""

    name: str = Field(description="known name, or `file.py:Class` of your own")
    keywords: dict[str, Any] = Field(default={}, description="keywords of the constructor")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "name" in value and "keywords" not in value:
            # keywords have no types here, by which 1e-4 would become the number that it means
            keywords = {k: with_number(v) for k, v in value.items() if k != "name"}
            unknown = [k for k, v in keywords.items() if isinstance(v, float) and not math.isfinite(v)]
            if unknown:
                raise ValueError(f"{unknown[0]} is not a finite number")
            return {"name": value["name"], "keywords": keywords}
        return value

    @property
    def spec(self) -> dict[str, Any]:
        """Name and keywords as one mapping."""
        return {"name": self.name, **self.keywords}
