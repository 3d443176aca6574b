"""Where the artifacts of a task are on the local disk, since TensorFlow and plain file calls know no s3:// or minio://.

Launchers keep a mirror: gs://bucket/key is /gcs/bucket/key, s3:// is below /s3 and minio:// below /minio. Vertex AI
mounts it; open-source Kubeflow Pipelines downloads inputs to it before the container's command runs, and uploads
outputs from it afterwards. Where there is no mirror of a bucket, the same is done here through fsspec.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.uri_files import copy_below, files_below, is_local, remove_file, told
from gated_pipelines.kubeflow.mirrors import MIRRORS
from gated_pipelines.kubeflow.roots import plain_parts

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """An artifact's folder.

    Attributes:
      uri: as the launcher names it.
      local: where it is on the disk.
      remote: from where it is downloaded, or to where it is uploaded, here; None where somebody else does it, or nobody
        needs to.
    """

    uri: str
    local: str
    remote: str | None


@dataclass(frozen=True, slots=True)
class Disk:
    """The local disk of a task.

    Attributes:
      mirror: the folder that the launcher's /gcs, /s3 and /minio are in.
      scratch: a folder that is gone when the task is over.
    """

    mirror: Path
    scratch: Path

    def place(self, uri: str) -> Place:
        """Where `uri` is; nothing is looked at but whether its bucket has a mirror.

        Raises:
          ConfigError: its path climbs; or it is a minio:// one without mirror, and nothing says where the server is.
        """
        scheme = uri.partition("://")[0]
        if is_local(uri):
            return Place(uri, uri, None)
        if scheme == "file":
            return Place(uri, unquote(urlsplit(uri).path), None)
        parts = plain_parts(uri)
        if parts is None:
            raise ConfigError(f"An artifact's URI must be a plain one, such as gs://bucket/key. Received: {uri}.")
        mirror = self.mirror / MIRRORS[scheme] if scheme in MIRRORS else None
        if mirror is not None and (mirror / parts[0]).is_dir():
            return Place(uri, str(mirror.joinpath(*parts)), None)
        return Place(uri, str(self.scratch.joinpath(scheme, *parts)), through_fsspec(uri))

    def bring(self, uri: str) -> Place:
        """An input, on the disk when this returns.

        Raises:
          StoreError: it cannot be downloaded.
        """
        place = self.place(uri)
        if place.remote is not None:
            os.makedirs(place.local, exist_ok=True)
            with told(f"{uri} could not be downloaded"):
                size = copy_below(place.remote, place.local)
            _LOG.info("downloaded %s: %d bytes", uri, size)
        elif not is_local(uri) and not os.path.exists(place.local):
            # Object stores know no empty folders, so that the mirror lacks those.
            place = Place(uri, str(self.scratch / "empty" / uri.replace("/", "_")), None)
            os.makedirs(place.local)
        return place

    def prepare(self, uri: str) -> Place:
        """The place of an output, an empty folder when this returns: what a failed attempt left in it goes."""
        place = self.place(uri)
        if os.path.isdir(place.local) and os.listdir(place.local):
            _LOG.warning("%s holds what an attempt before this one left; it is removed", uri)
            shutil.rmtree(place.local)
        os.makedirs(place.local, exist_ok=True)
        return place


def hand_over(place: Place) -> None:
    """Uploads an output, and removes what a failed attempt left there, unless the launcher does it.

    Raises:
      StoreError: it cannot be uploaded.
    """
    if place.remote is None:
        return
    with told(f"{place.uri} could not be uploaded"):
        stale = files_below(place.remote).keys() - files_below(place.local).keys()
        for name in sorted(stale):
            remove_file(f"{place.remote}/{name}")
        size = copy_below(place.local, place.remote)
    _LOG.info("uploaded %s: %d bytes", place.uri, size)


def as_named(text: str, places: Iterable[Place]) -> str:
    """`text`, with the URI in the place of the local folder where it is such a folder or a path in one."""
    for place in places:
        if text == place.local or text.startswith(f"{place.local}/"):
            return place.uri + text.removeprefix(place.local)
    return text


def through_fsspec(uri: str) -> str:
    """The URL by which fsspec reaches `uri`: MinIO speaks the protocol of S3.

    Raises:
      ConfigError: a minio:// one, and AWS_ENDPOINT_URL does not say where the server is.
    """
    if not uri.startswith("minio://"):
        return uri
    if not (os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL_S3")):
        raise ConfigError(
            f"{uri} cannot be reached: AWS_ENDPOINT_URL must tell where the MinIO server is, for example "
            f"http://minio-service.kubeflow:9000, in the environment of the container."
        )
    return "s3://" + uri.removeprefix("minio://")
