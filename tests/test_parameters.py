"""Values of a compiled pipeline's parameters that would fail in a task are refused before a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from checkpoint_gate.errors import ConfigError
from gated_pipelines.kubeflow.parameters import TYPES, is_known, require_values, wrong_values
from gated_pipelines.kubeflow.rehearsal.plan import make_plan
from gated_pipelines.kubeflow.servers.submitting import make_job

COMPILED = Path(__file__).parents[1] / "kubeflow" / "gated-penguins.yaml"
DEFINITIONS = yaml.safe_load(COMPILED.read_text())["root"]["inputDefinitions"]["parameters"]
NO_RULE = "save: {every: 1}\nfilter: {rule: 'not_on_this_machine:Plateau', with: {patience: 3}}"

WRONG = [
    pytest.param({"rules": "save: {every: 1}\nfiltr: {}"}, "did you mean filter", id="a misspelt section"),
    pytest.param({"rules": "save: ["}, "The parameter rules: rules line 1 is not valid YAML", id="no YAML"),
    pytest.param({"rules": "save: {every: 1}"}, "the section `filter`", id="nothing to filter by"),
    pytest.param({"rules": "filter: {every: 1}"}, "the section `save`", id="nothing to save by"),
    pytest.param({"rules": ""}, "must be a mapping", id="no rules"),
    pytest.param({"epochs": 0}, "epochs must be a whole number from 1 to 100,000. Received: 0.", id="no epochs"),
    pytest.param({"epochs": 100_001}, "epochs must be", id="too many epochs"),
    pytest.param({"root": " "}, "root must not be empty", id="no root"),
    pytest.param({"data": ""}, "data must not be empty", id="no table"),
    pytest.param({"push_folder": ""}, "push_folder must not be empty", id="no push folder"),
    pytest.param({"data": "/home/me/t.csv"}, "data must be a URL, or a place below the root", id="an absolute table"),
    pytest.param({"data": "file:///t.csv"}, "data must be a URL", id="a table by a file URL"),
    pytest.param({"data": "~me/t.csv"}, "data must be a URL", id="a table of somebody's home"),
    pytest.param({"push_folder": "/srv/models"}, "push_folder must be a URL", id="an absolute push folder"),
    pytest.param({"push_folder": "~/models", "root": "/tmp/x"}, "must not begin with ~", id="a push folder at home"),
    pytest.param({"span": "two"}, "The parameter span: span must be a whole number", id="a span in words"),
    pytest.param({"span": "1" * 19}, "at most 18 digits", id="a span beyond 64 bits"),
    pytest.param({"span": "3"}, "span is 3, but data/penguins.csv has no {SPAN}", id="a span without a place for it"),
    pytest.param({"span": "%Y%m"}, "has no {SPAN} for it to stand in", id="a time without a place for it"),
    pytest.param({"data": "a-{SPAN}/b-{SPAN}.csv"}, "{SPAN} once, in the name of the file", id="two places for a span"),
    pytest.param({"data": "{SPAN}/b.csv", "span": "3"}, "{SPAN} once, in the name", id="a place in a folder's name"),
    pytest.param({"data": "s4://b/x.csv"}, "data must be at a scheme that can be read", id="a scheme that is none"),
    pytest.param({"push_folder": "s4://b/x"}, "push_folder must be at a scheme", id="a push folder's scheme"),
]


@pytest.mark.parametrize(("given", "words"), WRONG)
def test_what_would_fail_in_a_task_is_refused(given, words):
    with pytest.raises(ConfigError) as raised:
        require_values(DEFINITIONS, given)
    assert words in str(raised.value)
    assert str(raised.value).startswith("The parameter ")
    [(name, _sentence)] = wrong_values({name: DEFINITIONS[name]["defaultValue"] for name in TYPES} | given)
    assert name in given


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="the defaults"),
        pytest.param(
            {"epochs": 100_000.0, "data": "m-{SPAN}.csv", "span": "0" * 18},
            id="numbers at their ends, as a server keeps them",
        ),
        pytest.param({"data": "minio://other/t.csv", "push_folder": "minio://m"}, id="MinIO, which tasks read as S3"),
        pytest.param({"data": "https://example.org/t.csv?sig=a://b"}, id="a table of the web"),
        pytest.param({"data": "simplecache::s3://other/t.csv"}, id="a chain of drivers"),
        pytest.param({"rules": NO_RULE}, id="a rule of one's own, which only the image has"),
        pytest.param({"data": "/tmp/t.csv", "push_folder": "/srv", "root": "/tmp/root"}, id="paths below a folder"),
        pytest.param({"data": "/gcs/bucket/t.csv"}, id="a bucket that the backend mounts"),
        pytest.param({"data": "s3://other/t-{SPAN}.csv", "push_folder": "gs://other/models"}, id="URLs"),
    ],
)
def test_what_a_task_takes_is_taken(given):
    require_values(DEFINITIONS, given)


def test_rules_of_ones_own_do_not_run_their_code(tmp_path, monkeypatch):
    (tmp_path / "ran_here.py").write_text("raise SystemExit('its code was run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    require_values(DEFINITIONS, {"rules": NO_RULE.replace("not_on_this_machine", "ran_here")})


def test_another_pipeline_is_left_alone():
    other = {**DEFINITIONS, "epochs": {"parameterType": "STRING"}}
    assert is_known(DEFINITIONS)
    assert not is_known(other)
    require_values(other, {"rules": "whatever"})
    require_values({"rules": {"parameterType": "STRING"}}, {"rules": "whatever"})


@pytest.mark.parametrize("values", [dict.fromkeys(TYPES, value) for value in (None, True, [], {}, 1.5)])
def test_values_of_other_types_are_left_to_the_rules_of_types(values):
    assert [name for name, _ in wrong_values(values)] in ([], ["epochs"])


def test_a_rehearsal_in_a_bucket_may_take_a_table_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = make_plan(COMPILED, "s3://bucket/x", [f"data={tmp_path}/t.csv"], None, None)
    assert plan.run.parameters["data"] == f"{tmp_path}/t.csv"
    assert plan.root == "s3://bucket/x"


def test_submitting_and_rehearsing_ask(tmp_path):
    with pytest.raises(ConfigError, match="the section `filter`"):
        make_job(COMPILED, ["rules=save: {every: 1}"], None, ["gs://"])
    with pytest.raises(ConfigError, match="must not be empty"):
        make_job(COMPILED, ["root="], None, ["gs://"])
    with pytest.raises(ConfigError, match="epochs must be"):
        make_plan(COMPILED, str(tmp_path), ["epochs=0"], None, None)
