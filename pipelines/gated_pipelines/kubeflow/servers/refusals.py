"""What a server's refusal, or its silence, means to the person who asked: one sentence. Pure."""

from __future__ import annotations

import json
import re

from checkpoint_gate.errors import ServerError
from gated_pipelines.kubeflow.one_line import one_line

_MEANINGS = {
    400: "refuses the request",
    401: "does not know you: log in by the kfp SDK's or Google's own ways",
    403: "does not allow this to you",
    404: "does not have what was asked for",
    409: "has something of that name already",
    429: "is asked too much",
}
_TEXTS = ("message", "error_message", "error", "error_details")


class Refusal(ServerError):
    """A server answered with an error.

    Attributes:
      status: the HTTP status, 0 where there was none.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def refused(host: str, status: int, message: str) -> Refusal:
    """A refusal by an HTTP status, with the server's own words."""
    meaning = _MEANINGS.get(status, "failed" if status >= 500 else "answers in a way that is not understood")
    said = f"{status}: {message}" if message else str(status)
    return Refusal(f"{host} {meaning} ({said}).", status)


def no_api(host: str) -> str:
    return (
        f"{host} answers with something other than its API, as a login page before it does: "
        "log in by its SDK's own ways, and check the URL."
    )


def message_of(body: str) -> str:
    """The words in an error's body: JSON of one of the servers' forms, or text; "" for a web page."""
    try:
        answer = json.loads(body)
    except ValueError:
        return "" if re.search(r"<\s*(html|!doctype|body)", body, re.IGNORECASE) else one_line(body)
    if isinstance(answer, dict):
        texts = (answer.get(key) for key in _TEXTS)
        return next((one_line(text) for text in texts if isinstance(text, str) and text.strip()), "")
    return ""


def why_unreachable(error: BaseException, timeout: tuple[float, float]) -> str:
    """Why there was no answer: the last cause of an error of urllib3."""
    reason: object = getattr(error, "reason", None) or error
    kind = type(reason).__name__
    if "ReadTimeout" in kind:
        return f"none within {timeout[1]:g} s"
    if "ConnectTimeout" in kind:
        return f"no connection within {timeout[0]:g} s"
    if "SSL" in kind:
        return f"no TLS connection, {_last(str(reason))}"
    return _last(str(reason))


def _last(text: str) -> str:
    """The part after the names of objects and of errors that urllib3 puts before it."""
    return one_line(re.sub(r"^.*?(?:object at 0x[0-9a-f]+>|host='[^']*', port=\d+\)?)\s*:\s*", "", text))
