"""How much of the old stays, as a pipeline.yaml says."""

from __future__ import annotations

from pathlib import Path

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.rule_text.rule_set import read_rules
from checkpoint_gate.rules.filtering import PrunePolicy
from gated_pipelines.config.pipeline_config import PipelineConfig
from gated_pipelines.disk.planning import Bounds
from gated_pipelines.running.places import Places


def bounds_of(config: PipelineConfig, keep_runs: int | None = None) -> Bounds:
    """The section `disk`, with the grace of the rules' `prune`; `keep_runs`, if given, goes before the section's.

    Raises:
      RuleError: the rules are wrong.
    """
    rules = read_rules(config.located, ("rules",)).cut("filter", "prune")
    policy = rules.prune or PrunePolicy()
    runs = keep_runs if keep_runs is not None else config.disk.keep_runs
    return Bounds(runs, config.disk.keep_logs, policy.grace, rules.digest())


def require_runs(places: Places, bounds: Bounds, pipeline: Path) -> None:
    """Refuses what could only be a slip.

    Raises:
      ConfigError: there is no such root, or nothing says how many runs stay.
    """
    if not places.root.is_dir():
        raise ConfigError(f"There is no {places.root}: no run has made it. Name the root of the runs with --root.")
    if bounds.keep_runs is None and bounds.keep_logs is None:
        raise ConfigError(
            f"{pipeline} does not say how many runs stay. Give --keep-runs, or write disk: {{keep_runs: 3}} there."
        )
