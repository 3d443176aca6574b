"""The folders in which launchers keep the files of buckets, as a container sees them: gs://b/k is /gcs/b/k. Pure."""

MIRRORS = {"gs": "gcs", "minio": "minio", "s3": "s3"}
"""Scheme of a URL -> its folder."""

URLS = tuple(f"{scheme}://" for scheme in MIRRORS)
"""What the URLs with a mirror begin with."""

MIRROR_VARIABLE = "GATED_PIPELINE_MIRROR"
"""The environment variable with the folder that /gcs, /minio and /s3 are in."""
