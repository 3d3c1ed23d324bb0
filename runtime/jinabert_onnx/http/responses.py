"""Parts of responses that routes share, as pydantic models, for the API's description."""

from __future__ import annotations

from pydantic import BaseModel


class Usage(BaseModel):
    """Tokens that were read, special ones included."""

    prompt_tokens: int
    total_tokens: int


class ProblemDetail(BaseModel):
    """What is wrong and what to do."""

    message: str
    type: str
    param: str | None
    code: str


class ProblemResponse(BaseModel):
    """An error in OpenAI's shape, and its message once more where Jina's clients look for it."""

    error: ProblemDetail
    detail: str
