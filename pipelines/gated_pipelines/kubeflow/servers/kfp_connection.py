"""A connection to a Kubeflow Pipelines server: made by the kfp SDK, bounded in time, its refusals one sentence each."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checkpoint_gate.errors import ServerError, ServerUnreachable
from gated_pipelines.kubeflow.one_line import one_line
from gated_pipelines.kubeflow.servers.refusals import Refusal, message_of, no_api, refused, why_unreachable

# Seconds to connect, and to wait for an answer. Where asking again does no harm, it is asked up to four times.
TIMEOUT = (5.0, 30.0)

_NO_HOST = "http://localhost"  # the SDK's, where it found none
_SERVICES = {
    "experiments": "ExperimentServiceApi",
    "healthz": "HealthzServiceApi",
    "pipelines": "PipelineServiceApi",
    "recurring_runs": "RecurringRunServiceApi",
    "runs": "RunServiceApi",
    "uploads": "PipelineUploadServiceApi",
}


@dataclass(frozen=True, slots=True)
class Connection:
    """A server that answers.

    Attributes:
      api: the SDK's generated API client, with its credentials.
      namespace: the user's, "" on a server for a single user.
    """

    api: Any
    namespace: str

    @property
    def host(self) -> str:
        return str(self.api.configuration.host)

    @property
    def ui(self) -> str:
        """The URL of the server's pages, which need not be that of its API."""
        return (os.environ.get("KF_PIPELINES_UI_ENDPOINT") or self.host).rstrip("/")

    def call(self, service: str, method: str, *args: Any, **kwargs: Any) -> Mapping[str, Any]:
        """Calls a method of one of the SDK's generated services, and returns the answer's fields.

        Raises:
          ServerError: the server refuses, or something else answers in its place.
        """
        import kfp_server_api
        from urllib3.exceptions import HTTPError

        api = getattr(kfp_server_api, _SERVICES[service])(self.api)
        prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", _SERVICES[service].removesuffix("Api")).lower()
        ask = getattr(api, f"{method}_with_http_info", None) or getattr(api, f"{prefix}_{method}_with_http_info")
        try:
            answer, _, headers = ask(*args, **kwargs, _request_timeout=TIMEOUT)
        except HTTPError as error:
            raise ServerUnreachable(f"{self.host} gives no answer: {why_unreachable(error, TIMEOUT)}.") from error
        except kfp_server_api.ApiException as error:
            raise self._refused(error) from error
        except (AttributeError, ValueError) as error:
            # The generated client stumbles over refusals without a text, or with one that is not UTF-8.
            if isinstance(error.__context__, kfp_server_api.ApiException):
                raise self._refused(error.__context__) from error
            raise ServerError(no_api(self.host)) from error
        if "json" not in str(headers.get("Content-Type", "")):
            raise ServerError(no_api(self.host))
        return answer.to_dict() if hasattr(answer, "to_dict") else {}

    def answers_as_v1(self) -> bool:
        """Whether this is a server of Kubeflow Pipelines 1, which knows no pipeline specs."""
        from kfp_server_api import ApiException
        from urllib3.exceptions import HTTPError

        try:
            self.api.call_api("/apis/v1beta1/healthz", "GET", auth_settings=["Bearer"], _request_timeout=TIMEOUT)
        except (ApiException, HTTPError, AttributeError, ValueError):
            return False
        return "json" in str(self.api.last_response.getheader("Content-Type"))

    def _refused(self, error: Any) -> ServerError:
        body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else error.body or ""
        return refused(self.host, int(error.status or 0), message_of(body) or one_line(str(error.reason)))


def connect(host: str | None, namespace: str | None) -> Connection:
    """Connects to a server, found and authenticated by the kfp SDK's own ways.

    Args:
      host: its URL; None for KF_PIPELINES_ENDPOINT, the cluster this runs in, or the one of the kubeconfig.
      namespace: the user's, on a server for several users; None for that of the SDK's context.

    Raises:
      ServerError: there is no server there, or one of Kubeflow Pipelines 1, or it does not let us in.
    """
    from kfp import Client

    class Bounded(Client):
        """The SDK's constructor asks for the server's health without a limit of time, and again for half a minute."""

        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
            from kfp_server_api import V2beta1GetHealthzResponse

            return V2beta1GetHealthzResponse(**_healthy(Connection(self._healthz_api.api_client, ""), host))

    # What the SDK prints, as where to log in, is not data.
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        try:
            client = Bounded(host=host, **({"namespace": namespace} if namespace else {}))
        except ServerError:
            raise
        except Exception as error:  # of kubernetes, of google.auth, of a token's file: whatever the SDK tried
            raise ServerError(f"The kfp SDK finds no way to {host or 'a server'}: {one_line(str(error))}.") from error
    connection = Connection(client._healthz_api.api_client, namespace or client.get_user_namespace())
    _healthy(connection, host)
    return connection


def _healthy(connection: Connection, host: str | None) -> Mapping[str, Any]:
    if connection.host == _NO_HOST and not (host or os.environ.get("KF_PIPELINES_ENDPOINT")):
        raise ServerError(
            "No Kubeflow Pipelines server is known: give --host URL, set KF_PIPELINES_ENDPOINT, or have a kubeconfig."
        )
    try:
        return connection.call("healthz", "get_healthz")
    except Refusal as refusal:
        if refusal.status != 404:
            raise
        if connection.answers_as_v1():
            raise ServerError(
                f"{connection.host} is a server of Kubeflow Pipelines 1: compiled pipelines need 2.0 or later."
            ) from refusal
        raise ServerError(
            f"{connection.host} has no Kubeflow Pipelines API (404): is the path before /apis missing in the URL?"
        ) from refusal
