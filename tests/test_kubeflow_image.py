"""The Dockerfile, what is read of it where there is no Docker, and what the build is sent."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

TOP = Path(__file__).parents[1]


def load_reader():
    spec = importlib.util.spec_from_file_location("dockerfile", TOP / ".ci" / "dockerfile.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["dockerfile"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


dockerfile = load_reader()
STAGES = dockerfile.read_dockerfile((TOP / "kubeflow" / "Dockerfile").read_text("utf-8"))


def names(target: str) -> list[str]:
    return [stage.name for stage in dockerfile.needed(STAGES, target)]


def instructions(target: str, name: str) -> list[str]:
    """Of the image that `target` becomes: its own stage's and those of the stages that it is made from."""
    stage = STAGES[target]
    inherited = instructions(stage.base, name) if stage.base in STAGES else []
    return inherited + [each.rest for each in stage.instructions if each.name == name]


def locked(package: str) -> set[str]:
    return set(
        re.findall(rf'^name = "{package}"\nversion = "(.+)"', (TOP / "uv.lock").read_text("utf-8"), re.MULTILINE)
    )


def test_only_the_workers_image_needs_beams():
    assert names("pipeline") == ["compiled", "installed", "pipeline"]
    assert names("beam-worker") == ["compiled", "installed", "beam", "beam-worker"]


def test_the_image_that_is_built_when_none_is_named_is_that_of_the_tasks():
    assert next(reversed(STAGES)) == "pipeline"


def test_the_tasks_image_has_no_entrypoint_and_the_workers_has_beams():
    assert instructions("pipeline", "ENTRYPOINT") == []
    assert instructions("beam-worker", "ENTRYPOINT") == ['["/opt/apache/beam/boot"]']


def test_the_tasks_are_not_root():
    assert instructions("pipeline", "ARG")[0] == "USER_ID=1000"
    assert instructions("pipeline", "USER") == ["${USER_ID}"]


def test_bases_and_beam_are_of_the_locked_versions():
    text = (TOP / "kubeflow" / "Dockerfile").read_text("utf-8")
    bases = {stage.base for stage in STAGES.values()} - STAGES.keys()
    told = set(re.findall(r"BEAM=([0-9.]+)", text))
    assert bases == {"python:3.10-bookworm", "python:3.10-slim-bookworm", "apache/beam_python3.10_sdk:2.74.0"}
    assert told == locked("apache-beam")


def test_what_is_copied_from_the_checkout_is_what_the_build_is_sent():
    sent = [line for line in (TOP / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert sent == ["*", "!dist/image"]
    copied = [each for stage in STAGES for each in instructions(stage, "COPY") if not each.startswith("--from=")]
    assert copied
    assert all(each.startswith("dist/image/") for each in copied)


def test_the_folders_of_the_launchers_mirrors_are_there():
    assert "mkdir --mode 1777 /gcs /minio /s3 /home/pipeline" in instructions("pipeline", "RUN")


def test_every_task_brings_its_command():
    compiled = YAML(typ="safe").load(TOP / "kubeflow" / "gated-penguins.yaml")
    for executor in compiled["deploymentSpec"]["executors"].values():
        assert executor["container"]["command"] == ["python", "-m", "gated_pipelines.kubeflow.entrypoint"]


def test_lines_are_joined_comments_dropped_and_variables_of_from_filled_in():
    stages = dockerfile.read_dockerfile(
        "# a comment\nARG VERSION=3.10\n\n"
        "FROM python:${VERSION} AS one\nRUN pip install \\\n    # why\n    x\nENV A=$HOME\n"
    )
    assert list(stages) == ["one"]
    assert stages["one"].base == "python:3.10"
    assert [(each.name, each.rest.split()) for each in stages["one"].instructions] == [
        ("RUN", ["pip", "install", "x"]),
        ("ENV", ["A=$HOME"]),
    ]


def test_variables_take_what_was_set_before():
    assert dockerfile.assignment("A=1 B=${C}/x", {"C": "y"}) == {"A": "1", "B": "y/x"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("FROM x", "FROM must be FROM IMAGE AS NAME", id="a stage without a name"),
        pytest.param("FROM ${X} AS y", "'X' has no value", id="a variable without a value"),
        pytest.param("RUN x", "Before the first FROM", id="an instruction before the first stage"),
        pytest.param("FROM x AS y\nADD a b", "not understood here: ADD", id="an instruction that is not known"),
        pytest.param('FROM x AS y\nRUN ["a"]', "not understood here: RUN", id="a command without a shell"),
        pytest.param("FROM x AS y\nRUN --mount=type=bind,target=/a x", "not understood", id="a mount"),
        pytest.param("FROM x AS y\nRUN <<EOF\nx\nEOF", "not understood here: RUN", id="a here-document"),
    ],
)
def test_what_is_not_understood_is_refused(text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        dockerfile.read_dockerfile(text)


@pytest.mark.parametrize("rest", ['A="x y"', "A=x y", "A"])
def test_values_with_blanks_or_quotes_are_refused(rest):
    with pytest.raises(ValueError, match="must be NAME=VALUE"):
        dockerfile.assignment(rest, {})
