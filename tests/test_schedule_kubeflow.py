"""`gated-pipeline schedule kubeflow`, against a server on loopback that refuses what the real one would refuse."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from compiled_sample import write_sample

pytest_plugins = ["kubeflow_fixtures"]
NIGHTLY = ("--cron", "0 3 * * *")


@pytest.fixture
def schedule(call, server):
    return lambda command, *more: call("schedule", "kubeflow", command, *more, "--host", server.url)


@pytest.fixture
def create(schedule, compiled):
    return lambda *more, file=compiled: schedule("create", file, *(() if "--cron" in more else NIGHTLY), *more)


def changes(server):
    """The requests that changed something, since the last call."""
    sent = [(method, path.removeprefix("/apis/v2beta1")) for method, path, _, _ in server.requests if method != "GET"]
    server.requests.clear()
    return sent


def crons(server):
    return [recurring["trigger"]["cron_schedule"]["cron"] for recurring in server.recurring.values()]


def test_it_makes_a_careful_schedule(create, server):
    code, out, err = create()
    (made,) = server.recurring.values()
    assert (code, err, server.refusals) == (0, "", [])
    assert made["display_name"] == "penguins"
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert (made["max_concurrency"], made["no_catchup"], made["status"]) == ("1", True, "ENABLED")
    assert made["runtime_config"]["pipeline_root"] == "gs://bucket/penguins/artifacts"
    (version,) = server.versions.values()
    assert version["pipeline_spec"]["root"]["dag"]["tasks"]["Trainer"]["cachingOptions"] == {"enableCache": False}
    first, second = out.splitlines()
    url = f"{server.url}/#/recurringrun/details/{made['recurring_run_id']}"
    assert first == f"The schedule penguins is created: {url}"
    assert second.startswith("It runs next at ")
    assert second.count(" 03:00:00 UTC") == 3


def test_what_is_given_reaches_the_schedule(create, server):
    options = ["--name", "nightly", "--start", "2127-01-01T00:00:00+01:00", "--end", "2128-01-01", "-p", "epochs=3"]
    assert create(*options, "--service-account", "me", "--experiment", "tries", "--root", "gs://mine")[0] == 0
    (made,) = server.recurring.values()
    times = {"start_time": "2126-12-31T23:00:00Z", "end_time": "2128-01-01T00:00:00Z"}
    assert made["trigger"]["cron_schedule"] == {"cron": "0 0 3 * * *", **times}
    assert made["runtime_config"]["parameters"] == {"epochs": 3, "root": "gs://mine"}
    assert (made["display_name"], made["service_account"]) == ("nightly", "me")
    assert server.experiments[made["experiment_id"]]["display_name"] == "tries"


def test_a_start_that_is_past_is_left_out(create, server):
    # Kubeflow Pipelines takes it for the last run, and begins one at once to make up for those since.
    code, out, _ = create("--start", "2020-01-01")
    (made,) = server.recurring.values()
    assert (code, made["trigger"]["cron_schedule"]) == (0, {"cron": "0 0 3 * * *"})
    assert "2020" not in out
    changes(server)
    assert "is unchanged: " in create("--start", "2020-01-01")[1]
    assert "is unchanged: " in create()[1]
    assert changes(server) == []


def test_the_same_command_changes_nothing_when_its_start_has_passed(create, server):
    create("--start", "2120-01-01")
    (made,) = server.recurring.values()
    made["trigger"]["cron_schedule"]["start_time"] = "2020-01-01T00:00:00Z"
    changes(server)
    assert "is unchanged: " in create("--start", "2020-01-01")[1]
    assert changes(server) == []


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="as short as it goes"),
        pytest.param(["--cron", "0 0 3 ? * *"], id="said in another way"),
        pytest.param(["-p", "epochs=3", "-p", "rate=1", "--service-account", "me"], id="with arguments"),
        pytest.param(["--start", "2127-01-01", "--end", "2128-01-01T10:00", "--experiment", "e"], id="within times"),
        pytest.param(["--replace"], id="with --replace"),
    ],
)
def test_the_same_command_again_changes_nothing(create, server, options):
    create(*options)
    changes(server)
    code, out, _ = create(*options)
    assert (code, changes(server)) == (0, [])
    assert out.startswith("The schedule penguins is unchanged: ")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        pytest.param(["--cron", "0 4 * * *"], "cron", id="another time"),
        pytest.param(["-p", "epochs=4"], "parameters", id="another argument"),
        pytest.param(["--root", "gs://other"], "parameters, root", id="another root"),
        pytest.param(["--cache"], "version", id="another caching"),
        pytest.param(["--end", "2129-01-01"], "end", id="another end"),
        pytest.param(["--start", "2127-01-01"], "start", id="another start"),
        pytest.param(["--experiment", "tries"], "experiment", id="another experiment"),
        pytest.param(["--service-account", "me"], "service account", id="another account"),
    ],
)
def test_another_of_the_same_name_is_refused_or_replaces(create, server, options, what):
    create()
    (old,) = server.recurring
    changes(server)
    code, _, err = create(*options)
    assert (code, changes(server)) == (1, [])
    assert err == (
        f"Error: There is a schedule penguins with another {what}: give --replace to put this one in its place, "
        "or another --name.\n"
    )
    code, out, _ = create(*options, "--replace")
    assert (code, out.startswith("The schedule penguins is replaced: ")) == (0, True)
    assert changes(server)[-2:] == [("POST", "/recurringruns"), ("DELETE", f"/recurringruns/{old}")]
    assert len(server.recurring) == 1
    create(*options, "--replace")
    assert changes(server) == []


def test_another_name_is_another_schedule(create, server):
    create()
    assert create("--name", "hourly", "--cron", "0 * * * *")[0] == 0
    assert crons(server) == ["0 0 3 * * *", "0 0 * * * *"]


def test_what_is_replaced_stays_until_the_new_one_is_there(create, server):
    create()
    server.fault, server.fault_on = 500, "POST .*/recurringruns$"
    server.requests.clear()
    assert create("--cron", "0 4 * * *", "--replace")[0] == 1
    server.fault = None
    assert crons(server) == ["0 0 3 * * *"]


def test_a_replacement_that_was_interrupted_is_ended_by_the_same_command(create, server):
    create()
    (old,) = server.recurring
    server.fault, server.fault_on = 500, f"DELETE .*/recurringruns/{old}$"
    create("--cron", "0 4 * * *", "--replace")
    assert crons(server) == ["0 0 3 * * *", "0 0 4 * * *"]
    server.fault = None
    create("--cron", "0 4 * * *", "--replace")
    assert crons(server) == ["0 0 4 * * *"]


def test_a_paused_one_is_replaced_by_a_paused_one(create, schedule, server):
    create()
    schedule("pause", "penguins")
    _, out, _ = create("--cron", "0 4 * * *", "--replace")
    assert [recurring["status"] for recurring in server.recurring.values()] == ["DISABLED"]
    assert out.splitlines()[1] == "It is paused: gated-pipeline schedule kubeflow resume."


def test_a_paused_one_s_replacement_that_was_left_active_is_paused(create, schedule, server):
    create()
    (old,) = server.recurring
    create("--name", "b", "--cron", "0 4 * * *")
    server.recurring[old]["status"] = "DISABLED"
    server.recurring[list(server.recurring)[1]]["display_name"] = "penguins"
    create("--cron", "0 4 * * *", "--replace")
    assert [(crons(server), made["status"]) for made in server.recurring.values()] == [(["0 0 4 * * *"], "DISABLED")]


def test_pause_resume_delete(create, schedule, server):
    create()
    (key,) = server.recurring
    changes(server)
    assert schedule("pause", "penguins")[:2] == (0, "The schedule penguins is paused.\n")
    assert schedule("pause", "penguins")[:2] == (0, "The schedule penguins is paused already.\n")
    note = "If one of its times passed meanwhile, Kubeflow Pipelines begins a run at once."
    assert schedule("resume", key)[:2] == (0, f"The schedule penguins is active.\n{note}\n")
    assert schedule("resume", key)[:2] == (0, "The schedule penguins is active already.\n")
    assert schedule("delete", "penguins")[:2] == (0, "The schedule penguins is deleted.\n")
    path = f"/recurringruns/{key}"
    assert changes(server) == [("POST", f"{path}:disable"), ("POST", f"{path}:enable"), ("DELETE", path)]


def test_a_name_that_is_none_or_of_several(create, schedule, server):
    create()
    assert "no schedule 'penguin' (did you mean penguins?)" in schedule("delete", "penguin")[2]
    (key,) = server.recurring
    server.recurring["other"] = {**server.recurring[key], "recurring_run_id": "other"}
    code, _, err = schedule("delete", "penguins")
    assert (code, f"There are 2 schedules 'penguins': give the id of one. They are: {key}, other." in err) == (1, True)
    assert schedule("delete", "other")[0] == 0
    assert list(server.recurring) == [key]


def test_list(create, schedule, server):
    create()
    create("--name", "b", "--cron", "5 0 3 * * *")
    schedule("pause", "b")
    (a, b) = server.recurring
    assert schedule("list")[1] == f"penguins  active  0 0 3 * * *  {a}\nb  paused  5 0 3 * * *  {b}\n"
    told = json.loads(schedule("list", "--json")[1])
    assert [sorted(item) for item in told] == [["cron", "id", "name", "paused", "url"]] * 2
    assert [item["paused"] for item in told] == [False, True]


def test_list_goes_through_all_pages(create, schedule, server):
    create()
    (key,) = server.recurring
    for number in range(250):
        name = f"other-{number}"
        server.recurring[name] = {**server.recurring[key], "recurring_run_id": name, "display_name": name}
    assert len(json.loads(schedule("list", "--json")[1])) == 251
    assert schedule("pause", "other-249")[0] == 0


def test_json(create, server):
    told = json.loads(create("--json")[1])
    (key,) = server.recurring
    assert sorted(told) == ["cron", "id", "name", "next", "outcome", "paused", "url"]
    assert (told["outcome"], told["id"], told["cron"], told["paused"]) == ("created", key, "0 0 3 * * *", False)
    assert len(told["next"]) == 3


def test_a_dry_run_prints_what_would_be_sent_and_asks_nobody(create, server):
    options = ["-p", "epochs=3", "--end", "2129-01-01"]
    code, out, err = create(*options, "--dry-run")
    assert (code, server.requests) == (0, [])
    assert err.startswith("It would run next at ")
    create(*options)
    told = out
    (made,) = server.recurring.values()
    for name, value in {**made["pipeline_version_reference"], "experiment_id": made["experiment_id"]}.items():
        told = told.replace(f"<{name}>", value)
    sent = [body for method, path, _, body in server.requests if (method, path[-14:]) == ("POST", "/recurringruns")]
    assert [json.loads(told)[-1]["body"]] == sent


@pytest.mark.parametrize("command", ["pause", "resume", "delete"])
def test_a_dry_run_prints_the_request_that_changes_a_schedule(create, schedule, server, command):
    create()
    if command == "resume":
        schedule("pause", "penguins")
    (key,) = server.recurring
    changes(server)
    code, out, _ = schedule(command, "penguins", "--dry-run")
    assert (code, server.requests) == (0, [])
    schedule(command, "penguins")
    told = json.loads(out.replace("<recurring_run_id>", key))
    method, path, _, body = server.requests[-1]
    assert told == [{"method": method, "path": path}]
    assert body is None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        pytest.param(["--cron", "0 3 * *"], "must have five fields", id="four fields"),
        pytest.param(["--cron", "0 3 31 2 *"], "must name a time that comes", id="31 February"),
        pytest.param(["--cron", "TZ=Europe/Paris 0 3 * * *"], "takes no time zone", id="a time zone"),
        pytest.param(["--end", "2020-01-01"], "must begin a run before its end", id="an end that is over"),
        pytest.param(
            ["--start", "2127-01-02", "--end", "2127-01-01"], "must begin a run before its end", id="an end too early"
        ),
        pytest.param(["--start", "9999-12-31T04:00"], "after its start", id="a start after the last time of all"),
        pytest.param(["--start", "9999-12-31T23:00:00-0500"], "the years 1 to 9999", id="a start beyond the calendar"),
        pytest.param(["--end", "9999-12-31T23:00:00-0500"], "the years 1 to 9999", id="an end beyond the calendar"),
        pytest.param(["-p", "epoch=3"], "did you mean epochs?", id="an argument spelt wrongly"),
    ],
)
def test_a_wrong_schedule_is_refused_before_the_server_is_asked(create, server, options, why):
    code, _, err = create(*options)
    assert (code, why in err, server.requests) == (1, True, []), err


def test_the_next_times_are_after_the_start(create):
    start = datetime.now(timezone.utc) + timedelta(days=400)
    told = json.loads(create("--json", "--start", start.strftime("%Y-%m-%dT%H:%M:%S"))[1])
    assert all(datetime.fromisoformat(time) > start - timedelta(seconds=1) for time in told["next"])


@pytest.mark.parametrize("command", [["list"], ["pause", "a"], ["resume", "a"], ["delete", "a"]])
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        pytest.param(403, "does not allow this to you", id="403"),
        pytest.param("redirect", "answers with something other than its API", id="a way to a login page"),
        pytest.param("v1", "is a server of Kubeflow Pipelines 1", id="an old server"),
        pytest.param("reset", "gives no answer", id="connections that end at once"),
    ],
)
def test_a_refusal_is_one_sentence(schedule, server, command, fault, why):
    server.fault = fault
    code, out, err = schedule(*command)
    assert (code, out, why in err, err.count("\n")) == (1, "", True, 1), err


def test_several_users(call, compiled, server):
    server.multi_user = True
    mine = ("--host", server.url, "--namespace", "mine")
    assert call("schedule", "kubeflow", "create", compiled, *NIGHTLY, *mine)[0] == 0
    server.requests.clear()
    assert "unchanged" in call("schedule", "kubeflow", "create", compiled, *NIGHTLY, *mine)[1]


def test_a_pipeline_of_which_the_version_is_gone_is_another(create, server, tmp_path):
    create()
    server.versions.clear()
    assert "with another version" in create()[2]
    other = write_sample(tmp_path / "b.yaml", lambda spec: spec.update(sdkVersion="x"))
    assert create("--replace", file=other)[0] == 0
