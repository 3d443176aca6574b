"""What a pipeline.yaml says that `gated-pipeline run` does and a compiled pipeline does not. Pure."""

from __future__ import annotations

from gated_pipelines.config.pipeline_config import PipelineConfig
from gated_pipelines.config.sections import Disk


def without_effect(config: PipelineConfig) -> tuple[str, ...]:
    """One sentence for each key that has no effect once it is compiled; it names the key and its line."""
    told = []
    if config.push.keep is not None:
        told.append(
            f"push.keep ({config.where('push', 'keep')}) has no effect in a compiled pipeline: "
            "every pushed version stays."
        )
    if config.disk != Disk():
        told.append(
            f"disk ({config.where('disk')}) has no effect in a compiled pipeline: what its runs leave stays below the "
            "root until somebody removes it."
        )
    return tuple(told)
