"""moto's S3 server on loopback, reached by the real driver as a user's would be: by the environment."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Iterator
from unittest import mock

import fsspec


@contextlib.contextmanager
def loopback_s3() -> Iterator[str]:
    """The server's URL while it runs."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with mock.patch.dict(os.environ, settings):
        # Drivers are kept by their arguments, and would go on asking the server that they were made for.
        S3FileSystem.clear_instance_cache()
        try:
            yield settings["AWS_ENDPOINT_URL"]
        finally:
            S3FileSystem.clear_instance_cache()
            server.stop()


def new_bucket() -> str:
    """The name of a bucket that was made."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    fsspec.filesystem("s3", use_listings_cache=False).mkdir(name)
    return name
