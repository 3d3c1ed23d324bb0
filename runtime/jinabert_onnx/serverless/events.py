"""AWS's events as one kind of call, and answers in the shape that each sender reads. Knows nothing of models.

Senders are API Gateway's REST APIs (payload format 1.0), its HTTP APIs and function URLs (2.0), load balancers, and
whoever invokes the function directly: then the event is the request itself, and the response or {"error": ...} comes
back as an object.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from jinabert_onnx.http.problems import Problem, refuse, require_uncompressed

MOST_BYTES = 6_291_556  # of what a function returns
MOST_BYTES_BALANCED = 1 << 20  # of what a load balancer takes of it


@dataclass(frozen=True)
class Call:
    """The request in an event.

    Attributes:
        method: of HTTP.
        path: of HTTP, which begins with the stage where the API has one in its paths.
        content: the body as it is in the event: text, base64 or empty.
        is_base64: whether `content` is base64.
        encoding: the Content-Encoding of the body.
        direct: whether the event itself is the request, which has no path.
        most_bytes: the largest result that the sender takes, as JSON.
    """

    method: str
    path: str
    content: str
    is_base64: bool = False
    encoding: str = ""
    direct: bool = False
    most_bytes: int = MOST_BYTES

    def body(self) -> bytes:
        """Decode the request's body.

        Raises:
            RequestError: it is marked as base64 and is not, or it is compressed.
        """
        require_uncompressed(self.encoding)
        content = self.content.encode("utf-8", "surrogatepass")  # what is no UTF-8 is no JSON either
        if not self.is_base64:
            return content
        try:
            return base64.b64decode(content, validate=True)
        except binascii.Error as error:
            raise refuse("the body is marked as base64 and is not", "invalid_base64") from error


@dataclass(frozen=True)
class Answer:
    """A response of HTTP; its body is JSON."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the answer that reports a problem."""
    return Answer(problem.status, problem.body(), {**problem.headers(), **(headers or {})})


def read_call(event: object) -> Call:
    """Read the request in `event`. One that is not of HTTP is a request itself, however malformed."""
    context = event.get("requestContext") if isinstance(event, dict) else None
    if not isinstance(event, dict) or not isinstance(context, dict):
        return Call("POST", "", json.dumps(event), direct=True)
    http = context.get("http")
    if isinstance(http, dict):
        method, path = http.get("method"), event.get("rawPath")
    else:
        method, path = event.get("httpMethod"), event.get("path")
    return Call(
        method=str(method or ""),
        path=str(path or ""),
        content=str(event.get("body") or ""),
        is_base64=event.get("isBase64Encoded") is True,
        encoding=_header(event, "content-encoding"),
        most_bytes=MOST_BYTES_BALANCED if "elb" in context else MOST_BYTES,
    )


def _header(event: Mapping[str, object], name: str) -> str:
    """The value of a header, "" without; load balancers send lists of values where they are told to."""
    for field_name in ("headers", "multiValueHeaders"):
        headers = event.get(field_name)
        for key, value in headers.items() if isinstance(headers, dict) else ():
            if str(key).lower() == name:
                return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return ""


def write_answer(call: Call, answer: Answer) -> dict[str, object]:
    """Return the function's result: at most `call.most_bytes`, or an answer that says so."""
    content = _shape(call, answer)
    size = len(json.dumps(content))  # as Lambda's runtime writes it
    if size <= call.most_bytes:
        return content
    message = (
        f"the response has {size} bytes and at most {call.most_bytes} can be returned; send fewer texts, or ask for "
        "less: vectors in encoding_format base64 (half as long), binary, or of fewer dimensions; no return_documents"
    )
    return _shape(call, problem_answer(Problem(413, message, "response_too_large")))


def _shape(call: Call, answer: Answer) -> dict[str, object]:
    if call.direct:
        content: dict[str, object] = orjson.loads(answer.body)
        return content
    headers = {"content-type": "application/json", **answer.headers}
    return {
        "statusCode": answer.status,
        "headers": headers,
        "body": answer.body.decode("utf-8"),
        "isBase64Encoded": False,
    }
