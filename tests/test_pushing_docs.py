"""What the page on the push folder shows is what is read and written there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import checkpoint_gate
from checkpoint_gate.cli import cli
from checkpoint_gate.errors import ModelError, StoreError
from checkpoint_gate.pushed.papers import Papers, read_papers
from checkpoint_gate.pushed.push_log import read_log, withdrawals
from checkpoint_gate.pusher.pruning import prune_versions
from gated_pipelines.cli import cli as pipeline_cli
from gated_pipelines.config.pipeline_config import load_config

PAGE = (Path(checkpoint_gate.__file__).parents[1] / "docs" / "pushing.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^`(\S+)`\n\n```jsonl?\n(.*?)```$", PAGE, re.DOTALL | re.MULTILINE))
PAPERS = "serving/1790000300/assets.extra/checkpoint_gate.json"
LOG = "serving/.checkpoint-gate/log.jsonl"


@pytest.fixture
def serving(tmp_path):
    for path, text in EXAMPLES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    (tmp_path / "serving" / "1790000300" / "saved_model.pb").write_bytes(b"graph")
    return tmp_path / "serving"


def test_both_files_have_an_example():
    assert set(EXAMPLES) == {PAPERS, LOG}


def test_the_papers_are_read_and_written_as_they_stand_there(serving):
    papers = read_papers(serving / "1790000300")
    assert papers.to_bytes().decode() == EXAMPLES[PAPERS]
    assert papers.push.version == 1790000300
    assert {"push", "origins", "survivors", "slices"} <= set(Papers.model_fields)
    told = CliRunner().invoke(cli, ["why", "--model", str(serving)])
    assert told.exit_code == 0
    assert "val_loss 0.41 is at most 0.6" in told.output


def test_papers_of_a_newer_format_and_changed_ones_are_refused(serving):
    place = serving.parent / PAPERS
    text = place.read_text()
    for old, new, words in (
        ('"format": 2', '"format": 3', "are of format 3, which a newer version wrote"),
        ("0.91", "0.92", "their checksum does not hold"),
    ):
        place.write_text(text.replace(old, new))
        with pytest.raises(ModelError, match=words):
            read_papers(serving / "1790000300")


def test_the_log_is_read_and_goes_on(serving, clock):
    (withdrawal,) = withdrawals(read_log(str(serving)))
    assert withdrawal.weights == read_papers(serving / "1790000300").push.weights
    prune_versions(str(serving), None, 0.0, clock)  # its trash is empty: what was there is gone
    events = [line["event"] for line in read_log(str(serving)) if line["version"] == 1790000100]
    assert events == ["pruning", "trashed", "swept"]


def test_a_changed_line_of_the_log_is_noticed(serving):
    place = serving.parent / LOG
    place.write_text(place.read_text().replace("Biscoe", "Dream"))
    with pytest.raises(StoreError, match=r"log\.jsonl line 3 is damaged: its checksum does not hold"):
        read_log(str(serving))


def test_every_event_that_is_written_stands_on_the_page():
    source = Path(checkpoint_gate.__file__).parent / "pusher"
    text = "".join((source / name).read_text() for name in ("pruning.py", "rollback.py"))
    written = set(re.findall(r'(?:add_to_log\([^)]*?|event = )"(\w+)"', text)) | {"swept"}
    assert written == {"withdrawn", "allowed", "pruning", "trashed", "look", "restored", "swept"}
    assert all(f'"{event}"' in PAGE for event in written)


def test_the_rule_is_read(tmp_path):
    (text,) = re.findall(r"^```yaml\n(.*?)```$", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "pipeline.yaml").write_text(
        "name: a\ndata: {csv: a.csv}\nlabel: y\ntask: multiclass\n"
        f"rules: {{save: {{metric: loss, at_most: 1}}, filter: {{metric: loss, at_most: 1}}}}\n{text}"
    )
    push = load_config(tmp_path / "pipeline.yaml").push
    assert (push.retention.last, push.retention.within, push.grace) == (5, 30 * 86400.0, 86400.0)


def test_every_option_that_it_names_is_there():
    told = CliRunner().invoke(pipeline_cli, ["rollback", "--help"]).output
    for option in set(re.findall(r"--[a-z-]+", PAGE)) - {"--model", "--json"}:
        assert option in told
