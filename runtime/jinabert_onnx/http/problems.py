"""What can be wrong with a request, in OpenAI's shape, with its HTTP status. Holds no text of the request."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

import orjson

from jinabert_onnx.errors import (
    BundleChangedError,
    CancelledError,
    DeadlineError,
    InputError,
    InputTypeError,
    JinaBertError,
    MemoryLimitError,
    StateError,
)


@dataclass(frozen=True)
class Problem:
    """Why a request gets no vectors.

    Attributes:
        status: HTTP status.
        message: what is wrong and what to do, for people.
        code: the same for programs.
        param: the field of the request that is to blame, if one is.
        retry_after: seconds after which to try again, if that may help.
    """

    status: int
    message: str
    code: str
    param: str | None = None
    retry_after: int | None = None

    @property
    def kind(self) -> str:
        """Return OpenAI's `type`."""
        if self.status == 429:
            return "rate_limit_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"

    def headers(self) -> dict[str, str]:
        """Return the headers of the response that are this problem's own."""
        headers = {}
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers

    def body(self) -> bytes:
        """Return the JSON of the response, with the message once more where Jina's clients look for it."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return orjson.dumps({"error": error, "detail": self.message})


class RequestError(JinaBertError, ValueError):
    """A request that gets a `Problem` as its answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def refuse(message: str, code: str, param: str | None = None, status: int = 400) -> RequestError:
    """Return the error to raise for a request that is wrong."""
    return RequestError(Problem(status, message, code, param))


def require_uncompressed(content_encoding: str) -> None:
    """Return if a body of this Content-Encoding is as it was written.

    Raises:
        RequestError: it is compressed: 415.
    """
    if content_encoding.strip().lower() not in ("", "identity"):
        message = f"the body has Content-Encoding {content_encoding[:80]!r}; send it uncompressed"
        raise refuse(message, "unsupported_encoding", status=415)


def problem_of(error: BaseException) -> Problem:
    """Return the answer for an error of this package, or of anything else: without a stack trace or internals."""
    if isinstance(error, RequestError):
        return error.problem
    if isinstance(error, DeadlineError):
        return Problem(504, "not done in time; send fewer or shorter texts, or try again", "timeout")
    if isinstance(error, CancelledError):
        return Problem(503, "the request was cancelled", "cancelled")
    if isinstance(error, BundleChangedError):
        return Problem(
            503, "the model's files were overwritten under it; the server must be restarted", "bundle_changed"
        )
    if isinstance(error, StateError):
        return Problem(503, "the server is shutting down", "shutting_down", retry_after=1)
    if isinstance(error, InputError | InputTypeError):
        return Problem(400, str(error), "invalid_value")
    if isinstance(error, MemoryLimitError):
        return Problem(400, f"the input does not fit into this server's memory limit: {error}", "memory_limit")
    return Problem(500, "the server failed to answer this request; its log says why", "internal_error")


def trace_of(error: BaseException) -> str:
    """Tell a log what failed and where: only our own errors' messages, since others' may quote a text."""
    what = f"{type(error).__name__}: {error}" if isinstance(error, JinaBertError) else type(error).__name__
    return f"{what}\n{''.join(traceback.format_tb(error.__traceback__))}"
