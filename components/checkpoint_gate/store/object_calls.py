"""Calls to an object store through fsspec: again after throttling and timeouts, and their errors as `OSError`.

The drivers try again by themselves, each in its own way; what they let through is tried a few times more here, with
growing pauses. A lost precondition ("it is there already") is an answer, and never tried again.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import fsspec
from fsspec.asyn import AsyncFileSystem
from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_exponential_jitter

from checkpoint_gate.errors import StoreError

T = TypeVar("T")

ATTEMPTS = 6
FIRST_PAUSE = 0.1  # seconds; each further one is twice as long
LONGEST_PAUSE = 8.0  # seconds
LONGEST = 60.0  # seconds after which no further attempt begins

_TRANSIENT = {
    errno.EAGAIN,
    errno.EBUSY,  # s3fs: SlowDown, ServiceUnavailable
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EPIPE,
    errno.EREMOTEIO,  # s3fs: InternalError
    errno.ETIMEDOUT,
}
_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
_TRANSIENT_NAMES = {
    "HTTPClientError",  # botocore: timeouts and broken connections
    "ClientConnectionError",  # aiohttp
    "ServerTimeoutError",
    "ClientPayloadError",
    "FSTimeoutError",
}
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
_LOST_PRECONDITION = {"PreconditionFailed", "412"}


def open_filesystem(url: str) -> tuple[Any, str]:
    """The driver for a URL, and the path within it.

    Raises:
      StoreError: no driver is installed for it.
    """
    scheme = url.partition("://")[0]
    options: dict[str, Any] = {"use_listings_cache": False}  # other writers' changes must be seen
    if scheme in ("file", "local"):
        options["auto_mkdir"] = True  # there folders are more than parts of names
    if scheme in ("s3", "s3a") and "config_kwargs" not in fsspec.config.conf.get(scheme, {}):
        # s3fs and this module try again; botocore doing so within them would make hours of a dead endpoint.
        options["config_kwargs"] = {"retries": {"mode": "standard", "total_max_attempts": 1}}
    try:
        fs, root = fsspec.url_to_fs(url, **options)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        from_where = f"; it comes with checkpoint-gate[{extra}]" if extra is not None else ""
        raise StoreError(f"{url} needs a driver that is not installed: {error}{from_where}.") from error
    except ValueError as error:
        raise StoreError(f"{url} cannot hold a store: {error}.") from error
    return fs, str(root).rstrip("/")


def creates_exclusively(fs: Any) -> bool:
    """Whether the driver has an exclusive create of its own; fsspec's is a look followed by a write."""
    naive = fsspec.AbstractFileSystem.pipe_file, AsyncFileSystem._pipe_file
    kind = type(fs)
    method = kind._pipe_file if isinstance(fs, AsyncFileSystem) else kind.pipe_file
    return method not in naive


def call(place: str, operation: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """What `operation` answers.

    Raises:
      OSError: it failed, after further attempts where these could help; `place` stands in it as the file's name.
    """
    try:
        try:
            return operation(*args, **kwargs)
        except Exception as error:
            if not _is_transient(error):
                raise
        time.sleep(FIRST_PAUSE)
        further = Retrying(
            retry=retry_if_exception(_is_transient),
            stop=stop_after_attempt(ATTEMPTS - 1) | stop_after_delay(LONGEST),
            wait=wait_exponential_jitter(initial=2 * FIRST_PAUSE, max=LONGEST_PAUSE, jitter=FIRST_PAUSE),
            reraise=True,
        )
        return further(operation, *args, **kwargs)
    except Exception as error:
        raise _as_os_error(error, place) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _codes(error: BaseException) -> Iterator[object]:
    """What an error of botocore or gcsfs says of the store's answer."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        yield response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        yield response.get("Error", {}).get("Code")
    for name in ("code", "status", "status_code"):
        yield getattr(error, name, None)


def _is_transient(error: BaseException) -> bool:
    if _is_lost_precondition(error) or isinstance(error, (FileExistsError, FileNotFoundError, PermissionError)):
        return False
    for each in _chain(error):
        if isinstance(each, (TimeoutError, ConnectionError)) or getattr(each, "errno", None) in _TRANSIENT:
            return True
        if not _TRANSIENT_NAMES.isdisjoint(kind.__name__ for kind in type(each).__mro__):
            return True
        if any(code in _TRANSIENT_STATUS or str(code) in map(str, _TRANSIENT_STATUS) for code in _codes(each)):
            return True
    return False


def _is_lost_precondition(error: BaseException) -> bool:
    return any(str(code) in _LOST_PRECONDITION for each in _chain(error) for code in _codes(each))


def _as_os_error(error: Exception, place: str) -> OSError:
    """The same error with a number and words of its own; drivers leave either out."""
    words = str(error).strip() or type(error).__name__
    if _is_lost_precondition(error) or isinstance(error, FileExistsError):
        return FileExistsError(errno.EEXIST, "is there already", place)
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "is not there", place)
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        return PermissionError(errno.EACCES, words, place)
    if any(str(code) in ("416", "InvalidRange") for each in _chain(error) for code in _codes(each)):
        return OSError(errno.EINVAL, words, place)
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, error.strerror or words, place)
    return OSError(errno.ETIMEDOUT if _is_transient(error) else errno.EIO, words, place)
