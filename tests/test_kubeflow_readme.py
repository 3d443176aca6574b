"""The page kubeflow/README.md: its commands exist as they stand there, and what it tells of files is in them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML

from checkpoint_gate.cli import cli as checkpoint_gate
from gated_pipelines.cli import cli as gated_pipeline
from gated_pipelines.config.kubeflow_section import Kubeflow

pytest_plugins = ["kubeflow_fixtures"]

TOP = Path(__file__).parents[1]
PAGE = (TOP / "kubeflow" / "README.md").read_text(encoding="utf-8")
COMPILED = YAML(typ="safe").load(TOP / "kubeflow" / "gated-penguins.yaml")
PROGRAMS = {"gated-pipeline": gated_pipeline, "checkpoint-gate": checkpoint_gate}
COMMANDS = re.findall(r"^\$ ((?:gated-pipeline|checkpoint-gate) .*)$", PAGE, re.MULTILINE)


def read_command(words: list[str]) -> None:
    """Reads a command line as the program does, without running it."""
    command: click.Command = PROGRAMS[words[0]]
    rest = words[1:]
    while isinstance(command, click.Group):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(command.name, list(rest))


@pytest.mark.parametrize("line", dict.fromkeys(COMMANDS))
def test_a_command_is_one_that_the_program_takes(line, monkeypatch):
    monkeypatch.chdir(TOP)
    read_command(shlex.split(line))


def test_a_command_with_an_unknown_option_would_be_seen(monkeypatch):
    monkeypatch.chdir(TOP)
    with pytest.raises(click.UsageError, match="No such option"):
        read_command(["gated-pipeline", "schedule", "kubeflow", "create", "x.yaml", "--crom", "0 3 * * *"])


def test_every_step_is_shown():
    shown = {tuple(line.split()[:2]) for line in COMMANDS}
    for name in ("compile", "lint", "rehearse", "submit", "schedule", "rollback"):
        assert ("gated-pipeline", name) in shown


def test_the_dry_run_ends_in_the_request_that_is_shown(call, monkeypatch):
    monkeypatch.chdir(TOP)
    [line] = [line for line in COMMANDS if line.endswith("--dry-run")]
    code, out, _ = call(*shlex.split(line)[1:])
    [shown] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert code == 0
    assert json.loads(out)[-1] == json.loads(shown)
    committed = (TOP / "kubeflow" / "recurring-run.json").read_text()
    assert committed == json.dumps(json.loads(out)[-1], indent=2) + "\n", "run `make compile`"


def test_the_compile_command_has_the_names_of_the_committed_file():
    [line] = [line for line in COMMANDS if line.startswith("gated-pipeline compile")]
    words = shlex.split(line)
    root = words[words.index("--root") + 1]
    images = {each["container"]["image"] for each in COMPILED["deploymentSpec"]["executors"].values()}
    assert images == {words[words.index("--image") + 1]}
    assert COMPILED["defaultPipelineRoot"] == f"{root}/artifacts"


def test_the_table_of_parameters_is_that_of_the_file():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE.partition("## Parameters")[2], re.MULTILINE)
    told = {name: default.strip("`") for name, default in rows}
    defined = COMPILED["root"]["inputDefinitions"]["parameters"]
    assert told.pop("rules") == "those of the pipeline.yaml"
    assert told == {name: str(each["defaultValue"]) or '""' for name, each in defined.items() if name != "rules"}


def test_the_section_that_is_shown_is_read_and_has_every_key():
    [shown] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    given = YAML(typ="safe").load(shown)["kubeflow"]
    section = Kubeflow.model_validate(given)
    assert section.resources_of("Trainer").memory == 8_000_000_000
    assert set(given) == set(Kubeflow.model_fields)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"[`$] ?make ([a-z-]+)", PAGE))))
def test_a_make_target_is_there(target):
    assert re.search(rf"^{target}:", (TOP / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)", PAGE))))
def test_a_link_leads_to_a_file(link):
    assert (TOP / "kubeflow" / link).exists()
