"""The options by which a command finds its server, and the place that they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from gated_pipelines.kubeflow.servers.backend import Backend, Change, Job, Request, Timing

_Command = TypeVar("_Command", bound=Callable[..., Any])
_OPTIONS = (
    click.option("--host", metavar="URL", help="The Kubeflow Pipelines server.  [default: as the kfp SDK finds it]"),
    click.option("--namespace", help="Yours, on a server for several users.  [default: the kfp SDK's]"),
    click.option("--vertex", is_flag=True, help="Use Vertex AI instead; give --project and --location."),
    click.option("--project", help="The Google Cloud project, for Vertex AI."),
    click.option("--location", help="The region, as europe-west4, for Vertex AI."),
)
_VERTEX_SCHEMES = ("gs://",)
_KFP_SCHEMES = ("gs://", "s3://", "minio://")


@dataclass(frozen=True, slots=True)
class Server:
    """A server as the command line names it; nothing is asked of it yet."""

    host: str | None
    namespace: str | None
    vertex: bool
    project: str | None
    location: str | None

    @property
    def schemes(self) -> Sequence[str]:
        """Those of the roots that the server can write to."""
        return _VERTEX_SCHEMES if self.vertex else _KFP_SCHEMES

    def connect(self) -> Backend:
        if self.vertex:
            from gated_pipelines.kubeflow.servers import vertex_connection
            from gated_pipelines.kubeflow.servers.vertex_backend import VertexAI

            return VertexAI(vertex_connection.connect_vertex(self.project or "", self.location or ""))
        from gated_pipelines.kubeflow.servers import kfp_connection
        from gated_pipelines.kubeflow.servers.kfp_backend import KubeflowPipelines

        return KubeflowPipelines(kfp_connection.connect(self.host, self.namespace))

    def check(self, timing: Timing) -> None:
        """Raises ConfigError if this server cannot be told the timing's cron expression, or its name."""
        from gated_pipelines.kubeflow.servers.kfp_requests import kfp_cron
        from gated_pipelines.kubeflow.servers.vertex_requests import require_name, vertex_cron

        if self.vertex:
            vertex_cron(timing.cron)
            require_name(timing.name)
        else:
            kfp_cron(timing.cron)

    def submit_requests(self, job: Job, name: str) -> Sequence[Request]:
        from gated_pipelines.kubeflow.servers import kfp_requests, vertex_requests

        if self.vertex:
            return vertex_requests.submit_requests(job, name, self._parent())
        return kfp_requests.submit_requests(job, name, self.namespace or "")

    def create_requests(self, job: Job, timing: Timing) -> Sequence[Request]:
        from gated_pipelines.kubeflow.servers import kfp_requests, vertex_requests

        if self.vertex:
            return vertex_requests.create_requests(job, timing, self._parent())
        return kfp_requests.create_requests(job, timing, self.namespace or "")

    def change_requests(self, change: Change) -> Sequence[Request]:
        from gated_pipelines.kubeflow.servers import kfp_requests, vertex_requests

        if self.vertex:
            return vertex_requests.change_requests(change, self._parent())
        return kfp_requests.change_requests(change)

    def _parent(self) -> str:
        from gated_pipelines.kubeflow.servers.vertex_requests import parent_of

        return parent_of(self.project or "", self.location or "")


def server_options(command: _Command) -> _Command:
    """Adds the options; the command takes them as keywords, for `server_of`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def server_of(options: Mapping[str, Any]) -> Server:
    """The server that a command's options mean.

    Raises:
      click.UsageError: options for one kind of server are given with the other.
    """
    server = Server(**{name: options[name] for name in ("host", "namespace", "vertex", "project", "location")})
    if server.vertex:
        if not (server.project and server.location):
            raise click.UsageError("--vertex needs --project and --location.")
        for name in ("host", "namespace", "experiment"):
            if options.get(name):
                raise click.UsageError(f"--{name} is for Kubeflow Pipelines, not for --vertex.")
    elif server.project or server.location:
        raise click.UsageError("--project and --location are for --vertex.")
    return server
