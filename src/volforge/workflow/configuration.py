"""The whole configuration. Stages import only the settings that they use, so that others do not make them anew."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError

from volforge.config.model import Model, Name
from volforge.config.models import Cohort, Recipe
from volforge.config.studies import Study
from volforge.errors import VolforgeError
from volforge.tasks import registry


def of_its_task(value: Any, handler: ValidatorFunctionWrapHandler) -> Study:
    """A study by the keys of its task.

    Raises:
        ValidationError: Of its keys; or there is no such task, or its file cannot be used.
    """
    name = value.get("task") if isinstance(value, dict) else None
    if not isinstance(name, str):
        found: Study = handler(value)  # says what is missing
        return found
    try:
        keys = registry.task(name).study
    except VolforgeError as error:
        text = error.message if not error.where else f"{error.message} ({error.where})"
        kind = PydanticCustomError("unknown_task", "{text}", {"text": text, "remedy": error.remedy})
        wrong: InitErrorDetails = {"type": kind, "loc": ("task",), "input": name}
        raise ValidationError.from_exception_data("Study", [wrong]) from error
    return keys.model_validate(value)


class Report(Model):
    """What the page shows."""

    title: str = Field(default="volforge", description="heading of the page")
    pictures_per_cohort: int = Field(
        default=24,
        ge=0,
        le=500,
        description="QC pictures embedded per cohort: flagged scans first, then evenly spaced ones",
    )
    published: list[str] = Field(
        default=[],
        description="tables of published numbers that the page shows whole; relative to the file that names them",
    )


class Weights(Model):
    """Files of public weights; each is accepted by its SHA-256 only. `volforge weights fetch` gets them once."""

    inception: str | None = Field(
        default=None, description="Inception-v3 of the FID (pytorch-fid's file); empty: the fetched one, or no FID"
    )
    alexnet: str | None = Field(default=None, description="AlexNet of LPIPS; empty: the fetched one, or no LPIPS")


class Configuration(Model):
    """The whole configuration of a run."""

    cohorts: dict[Name, Cohort] = Field(min_length=1, description="cohorts that the run builds, by name")
    recipes: dict[Name, Recipe] = Field(default={}, description="how scans are cut for networks, by name")
    studies: dict[Name, Annotated[Study, WrapValidator(of_its_task)]] = Field(
        default={}, description="tables of measures, by name"
    )
    weights: Weights = Field(default=Weights(), description="public weights of feature networks")
    report: Report = Field(default=Report(), description="the report page")
