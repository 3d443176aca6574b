"""The server that the tests of submitting and scheduling ask: it takes right requests, and refuses wrong ones."""

from __future__ import annotations

import copy
import json

import pytest
import urllib3
import yaml
from compiled_sample import SAMPLE
from kfp_server import KfpServer

API = "/apis/v2beta1"


@pytest.fixture
def server():
    with KfpServer() as running:
        yield running


def ask(server, method, path, body=None, **more):
    sent = {"body": json.dumps(body), "headers": {"Content-Type": "application/json"}} if body is not None else {}
    answer = urllib3.PoolManager(retries=False).request(method, server.url + API + path, **{**sent, **more})
    return answer.status, json.loads(answer.data)


def upload(server, pipeline_id, spec, query="", name="p.yaml"):
    path = f"/pipelines/upload_version?name=v1&pipelineid={pipeline_id}{query}"
    return ask(server, "POST", path, fields={"uploadfile": (name, spec)})


def sample(**changes):
    return yaml.safe_dump({**copy.deepcopy(SAMPLE), **changes})


@pytest.fixture
def ready(server):
    """What a right run and a right recurring run are asked with."""
    pipeline = ask(server, "POST", "/pipelines", {"display_name": "penguins"})[1]["pipeline_id"]
    status, version = upload(server, pipeline, sample())
    assert status == 200, version
    experiment = ask(server, "POST", "/experiments", {"display_name": "Default"})[1]["experiment_id"]
    reference = {"pipeline_id": pipeline, "pipeline_version_id": version["pipeline_version_id"]}
    return {"display_name": "a", "experiment_id": experiment, "pipeline_version_reference": reference}


RECURRING = {"max_concurrency": "1", "mode": "ENABLE", "trigger": {"cron_schedule": {"cron": "0 0 3 * * *"}}}


def test_right_requests_are_taken(server, ready):
    assert ask(server, "GET", "/healthz") == (200, {"multi_user": False})
    status, run = ask(server, "POST", "/runs", {**ready, "runtime_config": {"parameters": {"epochs": 3}}})
    assert (status, run["state"]) == (200, "PENDING")
    assert ask(server, "GET", f"/runs/{run['run_id']}")[1]["state"] == "SUCCEEDED"
    status, made = ask(server, "POST", "/recurringruns", {**ready, **RECURRING})
    assert (status, made["status"]) == (200, "ENABLED")
    assert ask(server, "POST", f"/recurringruns/{made['recurring_run_id']}:disable") == (200, {})
    assert ask(server, "GET", f"/recurringruns/{made['recurring_run_id']}")[1]["status"] == "DISABLED"
    assert ask(server, "DELETE", f"/recurringruns/{made['recurring_run_id']}") == (200, {})
    assert server.refusals == []


@pytest.mark.parametrize(
    ("path", "change", "status", "why"),
    [
        pytest.param("/runs", {"name": "a"}, 400, 'unknown field "name"', id="a field that is none of a run's"),
        pytest.param("/runs", {"display_name": ""}, 400, "name is empty", id="a run without a name"),
        pytest.param("/runs", {"display_name": 7}, 400, "must be str", id="a number for a text"),
        pytest.param("/runs", {"state": "GOING"}, 400, "must be one of", id="a word that is none of an enum's"),
        pytest.param("/runs", {"experiment_id": "x"}, 404, "Experiment x not found", id="an experiment that is none"),
        pytest.param(
            "/runs", {"pipeline_version_reference": {"pipeline_id": "x"}}, 404, "not found", id="a version that is none"
        ),
        pytest.param(
            "/runs", {"runtime_config": {"parameters": {"epochs": "3"}}}, 400, "requires type", id="a text for a number"
        ),
        pytest.param(
            "/runs", {"runtime_config": {"parameters": {"epoch": 3}}}, 400, "not required", id="an unknown argument"
        ),
        pytest.param(
            "/runs", {"runtime_config": {"pipeline_root": "/tmp/x"}}, 400, "unsupported", id="a root on a local disk"
        ),
        pytest.param(
            "/recurringruns",
            {"trigger": {"cron_schedule": {"cron": "0 3 * *"}}},
            400,
            "Expected 5 to 6 fields",
            id="a cron expression of four fields",
        ),
        pytest.param(
            "/recurringruns",
            {"trigger": {"cron_schedule": {"cron": "0 0 3 * * 7"}}},
            400,
            "Out of range",
            id="a day of the week 7",
        ),
        pytest.param(
            "/recurringruns",
            {"trigger": {"cron_schedule": {"cron": "TZ=Europe/Paris 0 3 * * *"}}},
            400,
            "parse int",
            id="a time zone, which this server does not read",
        ),
        pytest.param(
            "/recurringruns",
            {"trigger": {"cron_schedule": {"cron": "0 0 3 * * *", "start_time": "2027-01-01 00:00"}}},
            400,
            "RFC 3339",
            id="a time in another form",
        ),
        pytest.param("/recurringruns", {"mode": "ENABLED"}, 400, "must be one of", id="a mode that is none"),
        pytest.param("/recurringruns", {"max_concurrency": "11"}, 400, "at most 10", id="eleven at once"),
        pytest.param("/recurringruns", {"trigger": {}}, 400, "trigger is missing", id="no trigger"),
        pytest.param("/runs?force=1", {}, 400, "unknown query parameter", id="an unknown query parameter"),
        pytest.param("/run", {}, 404, "Not Found", id="a path that is none"),
    ],
)
def test_wrong_runs_are_refused(server, ready, path, change, status, why):
    right = {**ready, **RECURRING} if path == "/recurringruns" else ready
    got, answer = ask(server, "POST", path, {**right, **change})
    assert got == status
    assert why in answer["message"]
    assert not server.runs
    assert not server.recurring


def test_a_parameter_without_a_default_must_be_given(server, ready):
    spec = copy.deepcopy(SAMPLE)
    del spec["root"]["inputDefinitions"]["parameters"]["epochs"]["defaultValue"]
    pipeline = ready["pipeline_version_reference"]["pipeline_id"]
    path = f"/pipelines/upload_version?name=v2&pipelineid={pipeline}"
    version = ask(server, "POST", path, fields={"uploadfile": ("p.yaml", yaml.safe_dump(spec))})[1]
    reference = {"pipeline_id": pipeline, "pipeline_version_id": version["pipeline_version_id"]}
    assert ask(server, "POST", "/runs", {**ready, "pipeline_version_reference": reference})[0] == 400


@pytest.mark.parametrize(
    ("spec", "name", "why"),
    [
        pytest.param(sample(schemaVersion="2.0.0"), "p.yaml", "only supports schema version", id="of schema 2.0"),
        pytest.param(sample(pipelineSpec={}), "p.yaml", "invalid v2 pipeline spec", id="with an unknown field"),
        pytest.param(yaml.safe_dump({"pipelineSpec": SAMPLE}), "p.yaml", "invalid v2", id="within a PipelineJob"),
        pytest.param(sample(pipelineInfo={"name": ""}), "p.yaml", "name or root is empty", id="without a name"),
        pytest.param(sample(pipelineInfo={"name": "My Penguins!"}), "p.yaml", "must match", id="with another name"),
        pytest.param(sample(pipelineInfo={"name": "my.penguins"}), "p.yaml", "must match", id="with a dot in its name"),
        pytest.param("a: [", "p.yaml", "invalid v2 pipeline spec", id="no YAML"),
        pytest.param(
            sample(deploymentSpec={"executors": {"x": {"resolver": {}}}}), "p.yaml", "resolver", id="with a Resolver"
        ),
        pytest.param(sample(), "p.txt", "Unexpected pipeline file format", id="of another ending"),
    ],
)
def test_a_wrong_pipeline_is_refused(server, ready, spec, name, why):
    server.versions.clear()
    status, answer = upload(server, ready["pipeline_version_reference"]["pipeline_id"], spec, name=name)
    assert status == 400
    assert why in answer["error_message"]


def test_the_same_name_twice_is_refused(server, ready):
    assert ask(server, "POST", "/pipelines", {"display_name": "penguins"})[0] == 409
    assert ask(server, "POST", "/experiments", {"display_name": "Default"})[0] == 409
    assert upload(server, ready["pipeline_version_reference"]["pipeline_id"], sample())[0] == 409


def test_two_users_may_have_experiments_of_one_name(server):
    server.multi_user = True
    for status, namespace in ((200, "me"), (200, "you"), (409, "me")):
        assert ask(server, "POST", "/experiments", {"display_name": "Default", "namespace": namespace})[0] == status


def test_a_namespace_and_a_token_are_asked_for(server):
    server.multi_user, server.token = True, "secret"
    assert ask(server, "GET", "/experiments")[0] == 401
    headers = {"Authorization": "Bearer secret"}
    assert ask(server, "GET", "/experiments", headers=headers)[0] == 400
    assert ask(server, "GET", "/experiments?namespace=me", headers=headers)[0] == 200
