"""Submitting to Vertex AI and scheduling there: against a server on loopback, and against the SDK's own requests."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone

import pytest
import yaml
from compiled_sample import SAMPLE, write_sample
from vertex_server import VertexServer

from gated_pipelines.cron import read_cron
from gated_pipelines.kubeflow.servers import vertex_connection
from gated_pipelines.kubeflow.servers.backend import Timing
from gated_pipelines.kubeflow.servers.submitting import make_job
from gated_pipelines.kubeflow.servers.vertex_requests import job_body, schedule_body

pytest_plugins = ["kubeflow_fixtures"]

PLACE = ("--vertex", "--project", "p", "--location", "europe-west4")
PARENT = "projects/p/locations/europe-west4"
NIGHTLY = ("--cron", "0 3 * * *")


@pytest.fixture
def server(monkeypatch):
    """Vertex AI on loopback; whoever asks has credentials."""
    import google.auth
    from google.auth.credentials import AnonymousCredentials

    monkeypatch.setattr(google.auth, "default", lambda **_: (AnonymousCredentials(), "p"))
    with VertexServer() as running:
        monkeypatch.setattr(vertex_connection, "endpoint", lambda location: running.url)
        yield running


@pytest.fixture
def submit(call, server, compiled):
    return lambda *more, file=compiled: call("submit", file, *PLACE, *more)


@pytest.fixture
def schedule(call, server):
    return lambda command, *more: call("schedule", "kubeflow", command, *more, *PLACE)


@pytest.fixture
def create(schedule, compiled):
    return lambda *more, file=compiled: schedule("create", file, *(() if "--cron" in more else NIGHTLY), *more)


def changes(server):
    sent = [(method, path.removeprefix(f"/v1/{PARENT}")) for method, path, _, _ in server.requests if method != "GET"]
    server.requests.clear()
    return sent


def test_it_begins_a_run(submit, server):
    code, out, err = submit("-p", "epochs=3", "--service-account", "me@p", "--root", "gs://mine")
    (job,) = server.jobs.values()
    assert (code, err) == (0, "")
    console = "https://console.cloud.google.com/vertex-ai/locations/europe-west4/pipelines/runs/"
    assert out == f"Run {job.name}: {console}{job.name.rpartition('/')[2]}?project=p\n"
    assert job.name.startswith(f"{PARENT}/pipelineJobs/penguins-20")
    told = json.loads(type(job).to_json(job))
    assert told["runtimeConfig"]["parameterValues"] == {"epochs": 3, "root": "gs://mine"}
    assert told["runtimeConfig"]["gcsOutputDirectory"] == "gs://mine/artifacts"
    tasks = told["pipelineSpec"]["root"]["dag"]["tasks"]
    assert {task["cachingOptions"]["enableCache"] for task in tasks.values()} == {False}
    assert job.service_account == "me@p"


def test_waiting_tells_each_task_and_ends_as_the_run_does(submit, server):
    server.states = [
        ("PENDING", {}, ""),
        ("RUNNING", {"Trainer": "RUNNING"}, ""),
        ("FAILED", {"Trainer": "FAILED"}, "out of memory"),
    ]
    code, out, err = submit("--wait")
    assert code == 1
    told = ["the run: pending", "the run: running", "Trainer: running", "the run: failed", "Trainer: failed"]
    assert out.splitlines()[1:] == told
    assert err.startswith("Error: The run failed at Trainer: out of memory; see https://console.cloud.google.com/")


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELLED", 1)])
def test_waiting_ends_with_the_run(submit, server, state, code):
    server.states = [("QUEUED", {}, ""), ("RUNNING", {}, ""), (state, {}, "")]
    assert submit("--wait")[0] == code


def test_a_dry_run_prints_what_would_be_sent_and_asks_nobody(submit, create, server):
    (told,) = json.loads(submit("-p", "epochs=3", "--dry-run")[1])
    (planned,) = json.loads(create("--dry-run")[1])
    assert server.requests == []
    submit("-p", "epochs=3")
    create()
    run, made = [(path, body) for method, path, _, body in server.requests if method == "POST"]
    assert told["path"].partition("?pipelineJobId=penguins-")[0] == run[0]
    assert (planned["method"], planned["path"]) == ("POST", made[0])
    for mine, sent in ((told["body"], run[1]), (planned["body"], made[1])):
        mine.pop("displayName"), sent.pop("displayName")
        assert same_message(mine) == same_message(sent)


def same_message(body):
    from google.cloud.aiplatform_v1 import PipelineJob, Schedule

    kind = Schedule if "cron" in body else PipelineJob
    return kind.to_dict(kind.from_json(json.dumps(body)))


def test_requests_are_those_of_the_sdk_s_own_classes(monkeypatch, server, compiled, tmp_path):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform
    from google.cloud.aiplatform_v1 import PipelineJob, Schedule

    job = make_job(compiled, ["epochs=3"], "gs://mine", ["gs://"], service_account="me@p")
    where = {"project": "p", "location": "europe-west4", "credentials": AnonymousCredentials()}
    stock = aiplatform.PipelineJob(
        display_name="a",
        template_path=str(compiled),
        pipeline_root="gs://mine/artifacts",
        parameter_values={"epochs": 3, "root": "gs://mine"},
        enable_caching=False,
        **where,
    )
    stock._gca_resource.service_account = "me@p"
    ours = PipelineJob.from_json(json.dumps({"displayName": "a", **job_body(job)}))
    assert PipelineJob.to_dict(ours) == PipelineJob.to_dict(stock._gca_resource)

    sent = []
    client = type("Client", (), {"create_schedule": lambda self, **given: sent.append(given["schedule"]) or Schedule()})
    planned = aiplatform.PipelineJobSchedule(pipeline_job=stock, display_name="nightly", **where)
    planned.api_client = client()
    monkeypatch.setattr(type(planned), "_dashboard_uri", lambda self: "")
    start, end = datetime(2027, 1, 1, tzinfo=timezone.utc), datetime(2028, 1, 1, tzinfo=timezone.utc)
    times = {"start_time": "2027-01-01T00:00:00Z", "end_time": "2028-01-01T00:00:00Z"}
    planned.create(cron="TZ=Europe/Paris 0 3 * * *", service_account="me@p", **times)
    timing = Timing("nightly", read_cron("TZ=Europe/Paris 0 3 * * *"), start, end)
    ours = Schedule.from_json(json.dumps(schedule_body(job, timing, PARENT)))
    assert Schedule.to_dict(ours) == Schedule.to_dict(sent[0])


def test_it_makes_a_careful_schedule(create, server):
    code, out, err = create("--cron", "0 0 3 ? * 7")
    (made,) = server.schedules.values()
    assert (code, err) == (0, "")
    assert (made.display_name, made.cron) == ("penguins", "0 3 * * 0")
    assert (made.max_concurrent_run_count, made.allow_queueing, made.catch_up) == (1, False, False)
    assert out.splitlines()[0].startswith("The schedule penguins is created: https://console.cloud.google.com/")


def test_a_time_zone_is_kept(create, server):
    _, out, _ = create("--cron", "CRON_TZ=Asia/Tokyo 30 2 * * *")
    (made,) = server.schedules.values()
    assert made.cron == "TZ=Asia/Tokyo 30 2 * * *"
    assert out.count("02:30:00 JST") == 3


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="as short as it goes"),
        pytest.param(["-p", "epochs=3", "-p", "rate=1", "--service-account", "me"], id="with arguments"),
        pytest.param(["--start", "2127-01-01", "--end", "2128-01-01T10:00"], id="within times"),
        pytest.param(["--start", "2020-01-01"], id="with a start that is past"),
    ],
)
def test_the_same_command_again_changes_nothing(create, server, options):
    create(*options)
    changes(server)
    code, out, _ = create(*options)
    assert (code, changes(server)) == (0, [])
    assert out.startswith("The schedule penguins is unchanged: ")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("übung", id="a letter that JSON writes in another way"),
        pytest.param('a"b', id="a quotation mark"),
        pytest.param("a\\b", id="a backslash"),
        pytest.param("a*", id="a star"),
    ],
)
def test_a_name_is_known_again_whatever_is_in_it(create, server, name):
    create("--name", "abc")
    create("--name", name)
    changes(server)
    code, out, _ = create("--name", name)
    assert (code, changes(server)) == (0, [])
    assert out.startswith(f"The schedule {name} is unchanged: ")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        pytest.param(["--cron", "0 4 * * *"], "cron", id="another time"),
        pytest.param(["-p", "epochs=4"], "parameters", id="another argument"),
        pytest.param(["--cache"], "version", id="another caching"),
        pytest.param(["--end", "2129-01-01"], "end", id="another end"),
        pytest.param(["--service-account", "me"], "service account", id="another account"),
    ],
)
def test_another_of_the_same_name_is_refused_or_replaces(create, server, options, what):
    create()
    changes(server)
    code, _, err = create(*options)
    assert (code, changes(server)) == (1, [])
    assert f"There is a schedule penguins with another {what}: give --replace" in err
    assert create(*options, "--replace")[0] == 0
    assert changes(server) == [("POST", "/schedules"), ("DELETE", "/schedules/1")]
    assert len(server.schedules) == 1


def test_pause_resume_delete_and_list(create, schedule, server):
    for name in ("a", "b", "c"):
        create("--name", name)
    changes(server)
    assert schedule("pause", "b")[:2] == (0, "The schedule b is paused.\n")
    assert [item["paused"] for item in json.loads(schedule("list", "--json")[1])] == [False, True, False]
    _, out, _ = create("--name", "b", "--cron", "0 4 * * *", "--replace")
    assert "It is paused" in out
    assert [item["name"] for item in json.loads(schedule("list", "--json")[1]) if item["paused"]] == ["b"]
    assert schedule("resume", "b")[:2] == (0, "The schedule b is active.\n")
    assert schedule("delete", "c")[:2] == (0, "The schedule c is deleted.\n")
    assert "There is no schedule 'c'" in schedule("delete", "c")[2]


@pytest.mark.parametrize("command", ["pause", "resume", "delete"])
def test_a_dry_run_prints_the_request_that_changes_a_schedule(create, schedule, server, command):
    create()
    if command == "resume":
        schedule("pause", "penguins")
    changes(server)
    code, out, _ = schedule(command, "penguins", "--dry-run")
    assert (code, server.requests) == (0, [])
    schedule(command, "penguins")
    (told,) = json.loads(out.replace("<schedule_id>", "1"))
    method, path, _, body = server.requests[-1]
    assert (told["method"], told["path"], told.get("body") or None) == (method, path, body or None)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        pytest.param(["--cron", "30 0 3 * * *"], "the seconds must be 0", id="seconds"),
        pytest.param(["--root", "s3://mine"], "one of gs://: give --root", id="a root that is not Google's"),
        pytest.param(["--name", "n" * 129], "at most 128 characters", id="a name that is too long"),
    ],
)
def test_what_vertex_cannot_do_is_refused_before_it_is_asked(create, server, options, why):
    code, _, err = create(*options)
    assert (code, why in err, server.requests) == (1, True, [])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"pipelineSpec": {**SAMPLE, "schemaVersion": "2.0.0"}}, id="a spec of schema 2.0"),
        pytest.param({"pipelineSpec": {**SAMPLE, "extra": 1}}, id="a spec with an unknown field"),
        pytest.param({"extra": 1}, id="an unknown field"),
        pytest.param({"runtimeConfig": {"gcsOutputDirectory": "s3://x"}}, id="a root that is not Google's"),
    ],
)
def test_the_server_of_these_tests_refuses_wrong_requests(server, compiled, change):
    import urllib3

    body = {**job_body(make_job(compiled, [], None, ["gs://"])), **change}
    path = f"{server.url}/v1/{PARENT}/pipelineJobs?pipelineJobId=a"
    answer = urllib3.PoolManager(retries=False).request("POST", path, body=json.dumps(body))
    assert (answer.status, server.jobs) == (400, {})


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        pytest.param(400, "refuses the request (400: so it was ordered", id="400"),
        pytest.param(401, "does not know you", id="401"),
        pytest.param(403, "does not allow this to you (403: so it was ordered", id="403"),
        pytest.param(404, "404", id="404"),
        pytest.param(409, "has something of that name already (409: so it was ordered", id="409"),
        pytest.param(500, "failed (500: so it was ordered", id="500"),
        pytest.param("login", "answers with something other than its API", id="a login page"),
        pytest.param("slow", "gives no answer within 0.5 s.", id="too slow"),
    ],
)
@pytest.mark.parametrize("command", ["submit", "create", "list"])
def test_a_refusal_is_one_sentence(submit, create, schedule, server, monkeypatch, command, fault, why):
    from gated_pipelines.kubeflow.servers import vertex_backend

    monkeypatch.setattr(vertex_connection, "TIMEOUT", 0.5)
    monkeypatch.setattr(vertex_backend, "TIMEOUT", 0.5)
    server.fault = fault
    asked = {"submit": submit, "create": create, "list": lambda: schedule("list")}[command]
    code, out, err = asked()
    assert (code, out, why in err, err.count("\n")) == (1, "", True, 1), err


def test_a_server_that_is_not_there(call, compiled, server, monkeypatch):
    monkeypatch.setattr(vertex_connection, "endpoint", lambda location: "http://127.0.0.1:9")
    code, _, err = call("submit", compiled, *PLACE)
    assert (code, "gives no answer" in err, err.count("\n")) == (1, True, 1), err


def test_no_credentials(call, compiled, monkeypatch):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    code, _, err = call("submit", compiled, *PLACE)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("Error: There are no Google credentials: run gcloud auth application-default login")


def test_no_sdk(call, compiled, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.aiplatform_v1", None)
    monkeypatch.delattr("google.cloud.aiplatform_v1", raising=False)
    code, _, err = call("submit", compiled, *PLACE)
    assert (code, err) == (1, "Error: Vertex AI needs Google's SDK: pip install checkpoint-gate[vertex].\n")


def test_a_name_that_makes_no_id(submit, tmp_path):
    file = write_sample(tmp_path / "b.yaml", lambda spec: spec["pipelineInfo"].update(name="7 wonders"))
    assert "must begin with a letter" in submit(file=file)[2]
    assert yaml.safe_load(file.read_text())["pipelineInfo"]["name"] == "7 wonders"
