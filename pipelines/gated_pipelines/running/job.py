"""A pipeline.yaml made ready to run. Needs no TensorFlow, so that bad input is told at once."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.pushed.push_folder import listing_digest
from checkpoint_gate.rule_text.rule_set import RuleSet, read_rules
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.layout import STORE_FILE
from checkpoint_gate.store.revision import read_revision
from gated_pipelines.config.pipeline_config import PipelineConfig, load_config
from gated_pipelines.config.spec import TabularSpec
from gated_pipelines.curated_schema import read_schema
from gated_pipelines.running.places import Places
from gated_pipelines.running.state import State, read_state
from gated_pipelines.tables.staging import StagedTable, stage_table


@dataclass(frozen=True)
class Job:
    """A pipeline.yaml with its table staged and its rules read: all that a runner needs.

    Attributes:
      schema: the text of the curated schema, None where there is none.
      rebaseline: this run sets the champion aside, and the thresholds on values decide alone.
    """

    config: PipelineConfig
    rules: RuleSet
    table: StagedTable
    places: Places
    state: State
    schema: str | None = None
    rebaseline: bool = False

    @property
    def push_folder(self) -> str:
        return self.config.push.under(self.places.root)

    @property
    def push_state(self) -> str:
        """Changes with the live versions and with each push: a folder emptied by hand is not as it was at first."""
        return f"{listing_digest(self.push_folder)}/{self.state.last_push or 'never'}"

    @property
    def store_revision(self) -> int:
        """Rises with changes of the store by hand and of the filter's rules, so that the filter looks again."""
        return self.changes_by_hand + self.state.filter_changes

    @property
    def changes_by_hand(self) -> int:
        """How often somebody has changed the store by hand."""
        files = LocalFiles(self.places.store)
        return read_revision(files) if files.exists(STORE_FILE) else 0

    @property
    def spec(self) -> TabularSpec:
        return self.table.spec


def prepare(pipeline_file: Path, root: Path, span: int | None = None) -> Job:
    """Checks all that can be checked before any work, and stages the table, up to a span of it; None for the largest.

    Raises:
      ConfigError: the file, its table, or a folder is wrong.
      RuleError: its rules are wrong.
    """
    return prepare_config(load_config(pipeline_file), Places(root.expanduser().absolute()), span)


def prepare_config(config: PipelineConfig, places: Places, span: int | None = None) -> Job:
    """As `prepare`, of a pipeline.yaml that has been read."""
    rules = read_rules(config.located, ("rules",))
    rules = replace(rules, prune=rules.prune or PrunePolicy())
    check_writable(places.root, "The root folder", "Choose another one with --root")
    push = config.push.under(places.root)
    if "://" not in push:
        check_writable(Path(push), "The push folder", f"Change push.folder ({config.where('push', 'folder')})")
    table = stage_table(config, places.data, span="" if span is None else str(span))
    return Job(config, rules, table, places, read_state(places, config.name), schema=read_schema(config, table.spec))


def check_writable(folder: Path, what: str, way_out: str) -> None:
    """Makes the folder if need be, and writes and removes a file in it.

    Raises:
      ConfigError: that does not work; the sentence begins with `what` and ends with `way_out`.
    """
    probe = folder / f".probe-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        os.unlink(probe)
    except OSError as error:
        raise ConfigError(f"{what} {folder} cannot be written: {error.strerror}. {way_out}.") from error
