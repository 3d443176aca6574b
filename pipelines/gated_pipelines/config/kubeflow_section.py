"""The section `kubeflow` of a pipeline.yaml: what only a compiled pipeline needs."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from checkpoint_gate.quantities import parse_size
from gated_pipelines.config.section import Section, Text

ComponentId = Literal[
    "default",
    "CsvExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "Transform",
    "Trainer",
    "CheckpointFilter",
    "CheckpointEvaluator",
    "Champion",
    "Evaluator",
    "Pusher",
]
"""A component of the pipeline; what stands under "default" is for all that do not say otherwise."""


def _env_name(name: str) -> str:
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"must be named by letters, digits and _, not beginning with a digit, received {name!r}")
    return name


EnvName = Annotated[str, AfterValidator(_env_name)]
Bytes = Annotated[int, BeforeValidator(lambda value: parse_size(str(value))), Field(gt=0)]


class Gpu(Section):
    """Accelerators of one node.

    Attributes:
        type: as the backend names it: `nvidia.com/gpu` on Kubernetes, `NVIDIA_TESLA_T4` and the like on Vertex AI.
        count: how many, 1 to 64.
    """

    type: Text
    count: int = Field(default=1, ge=1, le=64)


class Resources(Section):
    """What a component's container may use; None leaves it to the backend.

    Attributes:
        cpu: cores, above 0.
        memory: bytes, above 0.
        gpu: accelerators.
    """

    cpu: float | None = Field(default=None, gt=0)
    memory: Bytes | None = None
    gpu: Gpu | None = None

    def over(self, default: Resources) -> Resources:
        """These, and the default's where these say nothing."""
        given = {name: value for name in Resources.model_fields if (value := getattr(self, name)) is not None}
        return default.model_copy(update=given)


class Kubeflow(Section):
    """How the compiled pipeline's containers run.

    Attributes:
        resources: by component.
        env: by component, the environment of its container; not for secrets, since the file shows it.
        retries: how often a failed task is tried again, 0 to 10; a Trainer goes on where it was.
        cache: whether a backend may take a component's outputs from an earlier run with the same inputs. Components
            that look outside the pipeline (CsvExampleGen, CheckpointFilter, Champion, Pusher) are always executed.
    """

    resources: dict[ComponentId, Resources] = {}
    env: dict[ComponentId, dict[EnvName, str]] = {}
    retries: int = Field(default=0, ge=0, le=10)
    cache: bool = False

    def resources_of(self, component: str) -> Resources:
        """Those of one component, by its id."""
        given = {str(name): resources for name, resources in self.resources.items()}
        return given.get(component, Resources()).over(given.get("default", Resources()))

    def env_of(self, component: str) -> dict[str, str]:
        """Name -> value, for one component's container."""
        given = {str(name): env for name, env in self.env.items()}
        return given.get("default", {}) | given.get(component, {})
