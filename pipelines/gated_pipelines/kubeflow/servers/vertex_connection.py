"""A connection to Vertex AI: made by Google's SDK, bounded in time, its refusals one sentence each."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from checkpoint_gate.errors import ConfigError, ServerError, ServerUnreachable
from gated_pipelines.kubeflow.one_line import one_line
from gated_pipelines.kubeflow.servers.refusals import message_of, no_api, refused
from gated_pipelines.kubeflow.servers.vertex_requests import parent_of

TIMEOUT = 60.0  # seconds, for each request

_ASKED = re.compile(r"^[A-Z]+ https?://\S+: ")  # which the SDK puts before what the server says


@dataclass(frozen=True, slots=True)
class VertexConnection:
    """A project's place at Vertex AI.

    Attributes:
      pipelines, schedules: clients of the SDK's generated services, with their credentials.
    """

    project: str
    location: str
    pipelines: Any
    schedules: Any

    @property
    def parent(self) -> str:
        return parent_of(self.project, self.location)

    def console(self, what: str, name: str) -> str:
        """The page of a run or a schedule, by its resource name."""
        return (
            f"https://console.cloud.google.com/vertex-ai/locations/{self.location}/pipelines/{what}/"
            f"{name.rpartition('/')[2]}?project={self.project}"
        )

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Around requests: what goes wrong becomes one sentence.

        Raises:
          ServerError: in place of what the SDK and the libraries below it raise.
        """
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError
        from google.protobuf.json_format import ParseError
        from requests.exceptions import ConnectionError as NoConnection
        from requests.exceptions import RequestException, Timeout

        host = self.pipelines.api_endpoint
        try:
            yield
        except GoogleAPICallError as error:
            raise refused(host, int(error.code or 0), message_of(_ASKED.sub("", str(error.message)))) from error
        except GoogleAuthError as error:
            raise ServerError(f"Google does not know you: {_first(error)}.") from error
        except Timeout as error:
            raise ServerUnreachable(f"{host} gives no answer within {TIMEOUT:g} s.") from error
        except NoConnection as error:
            raise ServerUnreachable(f"{host} gives no answer: {one_line(str(error))}.") from error
        except (RequestException, ParseError) as error:
            raise ServerError(no_api(host)) from error


def endpoint(location: str) -> str:
    return f"{location}-aiplatform.googleapis.com"


def connect_vertex(project: str, location: str) -> VertexConnection:
    """Connects to Vertex AI with the application default credentials.

    Raises:
      ConfigError: the SDK is not installed.
      ServerError: there are no credentials.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the age of Python, at each import of Google's
            from google.auth.exceptions import GoogleAuthError
            from google.cloud import aiplatform_v1
    except ImportError as error:
        raise ConfigError("Vertex AI needs Google's SDK: pip install checkpoint-gate[vertex].") from error
    options = {"api_endpoint": endpoint(location)}
    try:
        pipelines = aiplatform_v1.PipelineServiceClient(transport="rest", client_options=options)
        schedules = aiplatform_v1.ScheduleServiceClient(transport="rest", client_options=options)
    except GoogleAuthError as error:
        raise ServerError(
            f"There are no Google credentials: run gcloud auth application-default login ({_first(error)})."
        ) from error
    return VertexConnection(project, location, pipelines, schedules)


def _first(error: Exception) -> str:
    """The first of an error's arguments: Google's put the whole answer behind it."""
    return one_line(str(error.args[0] if error.args else error))
