"""Lint rules: the images of containers."""

from __future__ import annotations

from collections.abc import Iterator

from gated_pipelines.kubeflow.images import MUST, is_image
from gated_pipelines.kubeflow.lint.view import Container, Fault, Rule, View, shown, text


def no_image(view: View) -> Iterator[Fault]:
    for container in view.containers:
        if not text(container.spec.get("image")):
            yield Fault(container.path, f"Executor {container.label!r} has no image.")


def _used(view: View) -> Iterator[tuple[str, str, list[Container]]]:
    """Each image that is named outright, whose it is, and the containers that have it."""
    users: dict[str, list[Container]] = {}
    for container in view.containers:
        users.setdefault(text(container.spec.get("image")), []).append(container)
    for image, containers in users.items():
        if image and "{{$" not in image:
            whose = repr(containers[0].label) if len(containers) == 1 else f"{len(containers)} executors"
            yield image, whose, containers


def image_name(view: View) -> Iterator[Fault]:
    for image, whose, containers in _used(view):
        if not is_image(image):
            yield Fault((*containers[0].path, "image"), f"The image of {whose} {MUST}. Received: {shown(image)}.")


def image_tag(view: View) -> Iterator[Fault]:
    for image, whose, containers in _used(view):
        tag = image.rpartition("/")[2].partition(":")[2]
        if is_image(image) and "@" not in image and tag in ("", "latest"):
            said = "no tag" if not tag else "the tag latest"
            yield Fault((*containers[0].path, "image"), f"The image of {whose} has {said}: {image}.")


RULES: tuple[Rule[View], ...] = (
    Rule("no-image", "error", "Kubernetes and Vertex AI refuse a container without an image.", "Name it.", no_image),
    Rule(
        "image-name",
        "error",
        "The node cannot read the name: the first task's pod waits with InvalidImageName, and the run with it.",
        "Compile again with --image REGISTRY/NAME:TAG.",
        image_name,
    ),
    Rule(
        "image-tag",
        "warning",
        "Nodes keep what they once pulled, and a run cannot be repeated when the image behind the name has changed.",
        "Name a tag of this build, or a digest.",
        image_tag,
    ),
)
