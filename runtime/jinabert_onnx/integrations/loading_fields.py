"""How a model is loaded, as fields of the frameworks' classes that are models of pydantic.

Needs pydantic, which these frameworks bring.
"""

from __future__ import annotations

from pydantic import BaseModel, Field


class LoadingFields(BaseModel):
    """The options of `LoadingOptions`, which cannot be set afterwards."""

    precision: str | None = Field(default=None, frozen=True)
    provider: str | None = Field(default=None, frozen=True)
    threads: int | str | None = Field(default=None, frozen=True)
    max_memory: int | str | None = Field(default=None, frozen=True)
    revision: str | None = Field(default=None, frozen=True)
    local_files_only: bool | None = Field(default=None, frozen=True)
