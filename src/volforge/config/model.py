"""The base of all settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from volforge.config.scalars import with_number

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Model(BaseModel):
    """Unknown keys are errors, values do not change; numbers are finite, and no truth value passes for one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_as_meant(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        fields = cls.model_fields
        return {k: _as_meant(v, _leaves(fields[k].annotation)) if k in fields else v for k, v in value.items()}


def _as_meant(value: Any, leaves: set[Any]) -> Any:
    """A value of a field that takes numbers and no text: `2e3` is a number, and a truth value is refused as text."""
    if isinstance(value, list):
        return [_as_meant(v, leaves) for v in value]
    if not leaves & {int, float} or leaves & {str, bool}:
        return value
    return str(value) if isinstance(value, bool) else with_number(value)


def _leaves(annotation: Any) -> set[Any]:
    """The plain types in an annotation."""
    if get_origin(annotation) is Literal:
        return {type(v) for v in get_args(annotation)}
    if get_origin(annotation) is Annotated:
        return _leaves(get_args(annotation)[0])
    parts = get_args(annotation)
    return {leaf for part in parts for leaf in _leaves(part)} if parts else {annotation}
