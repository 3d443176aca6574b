"""Which texts are names of container images."""

from __future__ import annotations

import pytest

from checkpoint_gate.errors import ConfigError
from gated_pipelines.kubeflow.images import is_image, require_image

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "image",
    [
        pytest.param("registry.example/checkpoint-gate:0.1.0", id="a registry, a name and a tag"),
        pytest.param("me", id="a name alone"),
        pytest.param("me:latest", id="a tag without a registry"),
        pytest.param("localhost:5000/me", id="a port"),
        pytest.param("[::1]:5000/me:1", id="an address of IPv6"),
        pytest.param("europe-west4-docker.pkg.dev/p/r/me:1_a.B-c", id="folders, and all that a tag may hold"),
        pytest.param(f"r/me@{DIGEST}", id="a digest"),
        pytest.param(f"r/me:1@{DIGEST}", id="a tag and a digest"),
        pytest.param("Registry.example/me:1", id="capitals in the registry"),
        pytest.param("a/b__c--d.e:1", id="separators within a name"),
        pytest.param("a" * 255 + ":1", id="as long as may be"),
    ],
)
def test_it_is_a_name(image):
    assert is_image(image)
    require_image(image)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param("", id="nothing, as of a variable that is not set"),
        pytest.param(" ", id="a blank"),
        pytest.param("x y:1", id="a blank within"),
        pytest.param("x:1\n", id="a line's end"),
        pytest.param("R/X:1", id="capitals"),
        pytest.param("https://r/x:1", id="a URL"),
        pytest.param("r/x:", id="an empty tag"),
        pytest.param("r/x:a b", id="a blank in the tag"),
        pytest.param("r/x:-a", id="a tag that begins with a hyphen"),
        pytest.param("r/x:" + "a" * 129, id="a tag too long"),
        pytest.param("-x:1", id="an option"),
        pytest.param("r//x:1", id="two slashes"),
        pytest.param("/x:1", id="a slash first"),
        pytest.param("r/x@sha256:abc", id="a short digest"),
        pytest.param("r/x@" + "a" * 64, id="a digest without its algorithm"),
        pytest.param("a" * 256 + ":1", id="too long"),
    ],
)
def test_it_is_none(image):
    assert not is_image(image)
    with pytest.raises(ConfigError, match=r"The image must be named as registry\.example/folder/name:tag"):
        require_image(image)
