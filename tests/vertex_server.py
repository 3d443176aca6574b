"""Vertex AI's pipelines and schedules on loopback, as far as Google's SDK describes them.

There is no emulator of Vertex AI. Paths and methods are those of the SDK's generated transports; bodies must be the
SDK's protobuf messages, without unknown fields; the pipeline in them must be one that Kubeflow Pipelines takes, too.
What else is checked is what the reference says of the fields: ids, cron of five fields, output folders at gs://.
"""

from __future__ import annotations

import json
import re
import threading
import time

import kfp_rules
import kfp_server
import robfig
import yaml
from google.cloud import aiplatform_v1 as vertex
from google.cloud.aiplatform_v1.services.pipeline_service.transports import rest_base as pipeline_rest
from google.cloud.aiplatform_v1.services.schedule_service.transports import rest_base as schedule_rest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

METHODS = {
    "CreatePipelineJob": pipeline_rest._BasePipelineServiceRestTransport,
    "GetPipelineJob": pipeline_rest._BasePipelineServiceRestTransport,
    "CreateSchedule": schedule_rest._BaseScheduleServiceRestTransport,
    "GetSchedule": schedule_rest._BaseScheduleServiceRestTransport,
    "ListSchedules": schedule_rest._BaseScheduleServiceRestTransport,
    "PauseSchedule": schedule_rest._BaseScheduleServiceRestTransport,
    "ResumeSchedule": schedule_rest._BaseScheduleServiceRestTransport,
    "DeleteSchedule": schedule_rest._BaseScheduleServiceRestTransport,
}
ZONE = re.compile(r"(?:CRON_)?TZ=\S+ (.*)")


class VertexServer:
    """The server; use it as a context manager.

    Attributes:
      url: where it listens.
      requests: (method, path, query, body) of all that was asked.
      jobs, schedules: what was made, by resource name, as the SDK's messages.
      states: what the next looks at a run find: (state, {task: state}, error) each; the last one stays.
      fault: None, or what happens to every request: a status, "login", "slow".
    """

    def __init__(self):
        self.requests, self.jobs, self.schedules = [], {}, {}
        self.states = [("SUCCEEDED", {}, "")]
        self.fault = None
        self._routes = [(name, *_route(name, base)) for name, base in METHODS.items()]
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=kfp_server.Silent)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    @Request.application
    def _handle(self, request):
        text = request.get_data(as_text=True)
        query = {key: value for key, value in request.args.items() if key != "$alt"}
        self.requests.append((request.method, request.path, query, json.loads(text) if text else None))
        try:
            for name, method, path in self._routes:
                if (found := path.fullmatch(request.path)) and method == request.method:
                    answer = getattr(self, name)(found[1], query, text)
                    return Response(type(answer).to_json(answer), content_type="application/json")
            raise kfp_rules.Refused(404, "Not Found")
        except kfp_rules.Refused as error:
            return _error(error.status, str(error))

    def _answer(self, environ, start_response):
        if self.fault == "login":
            return Response(kfp_server.LOGIN, content_type="text/html")(environ, start_response)
        if isinstance(self.fault, int):
            return _error(self.fault, "so it was ordered")(environ, start_response)
        if self.fault == "slow":
            time.sleep(1.5)
        return self._handle(environ, start_response)

    # The API, under the SDK's names.

    def CreatePipelineJob(self, parent, query, text):
        job = _read(vertex.PipelineJob, text)
        _check_job(job)
        key = query.pop("pipelineJobId", "")
        if not re.fullmatch("[a-z][-a-z0-9]{0,127}", key) or query:
            raise kfp_rules.Refused(400, f"pipelineJobId {key} is invalid, or unknown parameters {query}")
        job.name = f"{parent}/pipelineJobs/{key}"
        if job.name in self.jobs:
            raise kfp_rules.Refused(409, f"{job.name} already exists")
        self.jobs[job.name] = job
        return job

    def GetPipelineJob(self, name, query, text):
        job = kfp_rules.get(self.jobs, name, "PipelineJob")
        state, tasks, error = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        job.state = vertex.PipelineState[f"PIPELINE_STATE_{state}"]
        details = [{"task_name": task, "state": vertex.PipelineTaskDetail.State[kind]} for task, kind in tasks.items()]
        job.job_detail = vertex.PipelineJobDetail(task_details=details)
        job.error = {"code": 9 if error else 0, "message": error}
        return job

    def CreateSchedule(self, parent, query, text):
        schedule = _read(vertex.Schedule, text)
        request = schedule.create_pipeline_job_request
        kfp_rules.require(schedule.display_name, "display_name is required")
        kfp_rules.require(len(schedule.display_name) <= 128, "display_name is longer than 128")
        kfp_rules.require(schedule.max_concurrent_run_count > 0, "max_concurrent_run_count is required")
        kfp_rules.require(request.parent == parent, "the parents differ")
        _check_job(request.pipeline_job)
        cron = ZONE.sub(r"\1", schedule.cron)
        kfp_rules.require(len(cron.split()) == 5, f"cron must have five fields: {schedule.cron}")
        try:
            robfig.parse(f"0 {cron}")
        except ValueError as error:
            raise kfp_rules.Refused(400, f"Invalid cron: {error}") from error
        schedule.name = f"{parent}/schedules/{len(self.schedules) + 1}"
        schedule.state = vertex.Schedule.State.ACTIVE
        schedule.start_time = schedule.start_time or "2026-11-23T00:00:00Z"
        self.schedules[schedule.name] = schedule
        return schedule

    def GetSchedule(self, name, query, text):
        return kfp_rules.get(self.schedules, name, "Schedule")

    def ListSchedules(self, parent, query, text):
        found = list(self.schedules.values())
        kfp_rules.require("filter" not in query, "how names are written in filters is not documented")
        begin = int(query.get("pageToken", 0))
        more = str(begin + 2) if begin + 2 < len(found) else ""
        return vertex.ListSchedulesResponse(schedules=found[begin : begin + 2], next_page_token=more)

    def PauseSchedule(self, name, query, text):
        kfp_rules.get(self.schedules, name, "Schedule").state = vertex.Schedule.State.PAUSED
        return vertex.Schedule()

    def ResumeSchedule(self, name, query, text):
        wanted = _read(vertex.ResumeScheduleRequest, text)
        kfp_rules.require(not wanted.catch_up, "nothing is to be made up for")
        kfp_rules.get(self.schedules, name, "Schedule").state = vertex.Schedule.State.ACTIVE
        return vertex.Schedule()

    def DeleteSchedule(self, name, query, text):
        kfp_rules.get(self.schedules, name, "Schedule")
        del self.schedules[name]
        return _Done()


class _Done:
    """A finished long-running operation without a result."""

    @staticmethod
    def to_json(_):
        empty = {"@type": "type.googleapis.com/google.protobuf.Empty"}
        return json.dumps({"name": "projects/p/locations/l/operations/1", "done": True, "response": empty})


def _route(name, base):
    """The HTTP method and the path of a method, whose resource is the pattern's group."""
    option = getattr(base, f"_Base{name}")._get_http_options()[0]
    path = re.sub(r"\{\w+=([^}]+)\}", lambda found: "(" + found[1].replace("*", "[^/:]+") + ")", option["uri"])
    return option["method"].upper(), re.compile(path)


def _read(message, text):
    try:
        return message.from_json(text, ignore_unknown_fields=False)
    except Exception as error:  # json_format's, whose classes differ by release
        raise kfp_rules.Refused(400, f"Invalid JSON payload received: {error}") from error


def _check_job(job):
    told = json.loads(vertex.PipelineJob.to_json(job))
    spec = kfp_rules.read_spec(yaml.safe_dump(told.get("pipelineSpec", {})))
    runtime = told.get("runtimeConfig", {})
    kfp_rules.check_arguments(spec, runtime.get("parameterValues", {}))
    folder = runtime.get("gcsOutputDirectory", "")
    kfp_rules.require(folder.startswith("gs://"), f"gcs_output_directory must be a gs:// URI: {folder}")
    kfp_rules.require(len(job.display_name) <= 128, "display_name is longer than 128")


def _error(status, message):
    told = {"error": {"code": status, "message": message, "status": "X"}}
    return Response(json.dumps(told), status, content_type="application/json")
