"""Sections of settings: what they share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A group of settings of one room: cannot change after it is made, takes no unknown name."""

    model_config = ConfigDict(frozen=True, extra="forbid")
