"""Kubeflow Pipelines' API server on loopback: what its published description and its source refuse, this refuses.

Fields, types, enums, paths and query parameters are checked against the description (kfp_description); what the
description does not say was read in the server's source: names that must be there and be new, references that must
exist, the form of an uploaded pipeline, a run's arguments, cron expressions, the limits of recurring runs.
It is stricter: it refuses query parameters and second files that the server overlooks, and a root that its tasks could
not write to.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import suppress
from typing import Any, NamedTuple

import robfig
from kfp_description import Wrong, check, routes
from kfp_rules import Refused, check_arguments, get, keep, matches, read_spec, require
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13}
LOGIN = "<!DOCTYPE html><html><body>Please log in.</body></html>"


class Asked(NamedTuple):
    """The query parameters of a request, and its body: JSON, or the text of a file."""

    query: dict
    body: Any


class Silent(WSGIRequestHandler):
    def log(self, *_):
        pass


class KfpServer:
    """The server; use it as a context manager.

    Attributes:
      url: where it listens.
      requests: (method, path, query, body) of all that was asked, refused or not; a file's text stands for a body.
      refusals: what was said to those refused for being wrong.
      multi_user: whether experiments and recurring runs need a namespace.
      token: the bearer token to be shown, None for none.
      states: what the next looks at a run find: (state, {task: state}) each; the last one stays.
      fault: None, or what happens to every request: a status, (status, text), "login", "redirect", "json" (another
        API), "slow", "reset", "v1". `fault_on` limits it to methods and paths that match, `faults_left` to so many
        requests.
    """

    def __init__(self):
        self.requests, self.refusals = [], []
        self.pipelines, self.versions, self.experiments, self.runs, self.recurring = {}, {}, {}, {}, {}
        self.multi_user, self.token = False, None
        self.states = [("SUCCEEDED", {})]
        self.fault, self.fault_on, self.faults_left = None, "", None
        self._routes = routes()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Silent)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ, start_response):
        request = Request(environ)
        response = self._faulty(request, environ) or self._handle(request)
        with suppress(OSError):
            return response(environ, start_response)
        return []

    def _faulty(self, request, environ):
        if request.path == "/login":
            return Response(LOGIN, content_type="text/html; charset=utf-8")
        if (
            self.fault is None
            or not re.search(self.fault_on, f"{request.method} {request.path}")
            or self.faults_left == 0
        ):
            return None
        if self.faults_left:
            self.faults_left -= 1
        if isinstance(self.fault, int):
            return _error(self.fault, "so it was ordered")
        if isinstance(self.fault, tuple):
            return Response(self.fault[1], self.fault[0], content_type="text/html")
        if self.fault == "login":
            return Response(LOGIN, content_type="text/html; charset=utf-8")
        if self.fault == "json":
            return _json({}, 200)
        if self.fault == "redirect":
            return Response(status=302, headers={"Location": "/login"})
        if self.fault == "v1":
            if request.path == "/apis/v1beta1/healthz":
                return Response('{"commit_sha": "x", "multi_user": false}', content_type="application/json")
            return Response("Not Found\n", 404, content_type="text/plain")
        if self.fault == "slow":
            time.sleep(2.5)
        if self.fault == "reset":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return None

    def _handle(self, request):
        sent = request.get_data(cache=True)
        files = request.files
        body = next(iter(files.values())).read().decode() if files else json.loads(sent) if sent else None
        self.requests.append((request.method, request.path, dict(request.args), body))
        try:
            if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
                raise Refused(401, "Unauthenticated")
            route, found = self._find(request)
            self._check_form(request, route, body)
            answer = getattr(self, route.name)(Asked(dict(request.args), body), *found.groupdict().values())
            if route.answer and route.answer != "object":
                check(answer, route.answer, route.name)
        except (Refused, Wrong) as error:
            status = getattr(error, "status", 400)
            self.refusals.append(str(error))
            if "upload" in request.path:
                return _json({"error_message": str(error), "error_details": str(error)}, status)
            return _error(status, str(error))
        return _json(answer, 200)

    def _find(self, request):
        for route in self._routes:
            found = route.path.fullmatch(request.path)
            if found and route.method == request.method and hasattr(self, route.name):
                return route, found
        raise Refused(404, "Not Found")

    def _check_form(self, request, route, body):
        for name, values in request.args.lists():
            if name not in route.query:
                raise Wrong(f'unknown query parameter "{name}"')
            if len(values) > 1:
                raise Wrong(f'query parameter "{name}" is given twice')
        if route.file:
            if list(request.files) != ["uploadfile"]:
                raise Wrong("Failed to read pipeline from file")
            if not request.files["uploadfile"].filename.endswith((".yaml", ".yml", ".json")):
                raise Wrong("Unexpected pipeline file format. Support .zip, .tar.gz, .json or YAML")
        elif route.body:
            if request.mimetype != "application/json":
                raise Wrong(f"Received the content type {request.mimetype}")
            check(body, route.body, "body")
        elif body is not None:
            raise Wrong("a body where there is none")

    # The API, under the description's names.

    def get_healthz(self, asked):
        return {"multi_user": self.multi_user}

    def create_pipeline(self, asked):
        name = asked.body.get("display_name") or asked.body.get("name")
        require(name, "pipeline's name cannot be empty")
        where = asked.body.get("namespace", "")
        taken = any((p["display_name"], p.get("namespace", "")) == (name, where) for p in self.pipelines.values())
        if taken:
            raise Refused(409, f"The name {name} already exist")
        return keep(self.pipelines, "pipeline_id", {**asked.body, "display_name": name})

    def list_pipelines(self, asked):
        return self._page("pipelines", self.pipelines, asked.query)

    def get_pipeline(self, asked, pipeline_id):
        return get(self.pipelines, pipeline_id, "Pipeline")

    def list_pipeline_versions(self, asked, pipeline_id):
        get(self.pipelines, pipeline_id, "Pipeline")
        own = {key: version for key, version in self.versions.items() if version["pipeline_id"] == pipeline_id}
        return self._page("pipeline_versions", own, asked.query)

    def get_pipeline_version(self, asked, pipeline_id, version_id):
        get(self.pipelines, pipeline_id, "Pipeline")
        return get(self.versions, version_id, "PipelineVersion")

    def upload_pipeline_version(self, asked):
        pipeline_id = asked.query.get("pipelineid", "")
        if pipeline_id not in self.pipelines:
            raise Refused(400, "Failed to create a pipeline version")
        spec, name = read_spec(asked.body), asked.query.get("name") or "pipeline.yaml"
        if any((v["pipeline_id"], v["display_name"]) == (pipeline_id, name) for v in self.versions.values()):
            raise Refused(409, "Failed to create a pipeline version")
        made = {"pipeline_id": pipeline_id, "display_name": name, "pipeline_spec": spec}
        return keep(self.versions, "pipeline_version_id", made)

    def create_experiment(self, asked):
        require(asked.body.get("display_name"), "Experiment name cannot be empty")
        self._require_namespace(asked.body.get("namespace"))
        name, where = asked.body["display_name"], asked.body.get("namespace", "")
        if any((e["display_name"], e.get("namespace", "")) == (name, where) for e in self.experiments.values()):
            raise Refused(409, f"Experiment {name} already exists")
        return keep(self.experiments, "experiment_id", dict(asked.body))

    def list_experiments(self, asked):
        self._require_namespace(asked.query.get("namespace"))
        return self._page("experiments", self.experiments, asked.query)

    def get_experiment(self, asked, experiment_id):
        return get(self.experiments, experiment_id, "Experiment")

    def create_run(self, asked):
        self._require_job(asked.body, "Run")
        return keep(self.runs, "run_id", {**asked.body, "state": "PENDING"})

    def get_run(self, asked, run_id):
        run = get(self.runs, run_id, "Run")
        state, tasks = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        details = [
            {"task_id": str(n), "display_name": task, "state": kind} for n, (task, kind) in enumerate(tasks.items())
        ]
        return {**run, "state": state, "run_details": {"task_details": details}}

    def create_recurring_run(self, asked):
        self._require_job(asked.body, "Recurring run")
        if not 1 <= int(asked.body.get("max_concurrency", 0)) <= 10:
            raise Refused(400, "Max concurrency of a recurring run must be at least 1 and at most 10")
        schedule = asked.body.get("trigger", {}).get("cron_schedule")
        require(schedule, "a trigger is missing")
        try:
            robfig.parse(schedule.get("cron", ""))
        except ValueError as error:
            raise Refused(400, f"Schedule cron is not a supported format: {error}") from error
        status = "ENABLED" if asked.body.get("mode") == "ENABLE" else "DISABLED"
        namespace = self.experiments[asked.body["experiment_id"]].get("namespace", "")
        made = {"service_account": "pipeline-runner", **asked.body, "status": status, "namespace": namespace}
        return keep(self.recurring, "recurring_run_id", made)

    def list_recurring_runs(self, asked):
        self._require_namespace(asked.query.get("namespace"))
        return self._page("recurringRuns", self.recurring, asked.query)

    def get_recurring_run(self, asked, recurring_run_id):
        return get(self.recurring, recurring_run_id, "RecurringRun")

    def enable_recurring_run(self, asked, recurring_run_id):
        get(self.recurring, recurring_run_id, "RecurringRun")["status"] = "ENABLED"
        return {}

    def disable_recurring_run(self, asked, recurring_run_id):
        get(self.recurring, recurring_run_id, "RecurringRun")["status"] = "DISABLED"
        return {}

    def delete_recurring_run(self, asked, recurring_run_id):
        get(self.recurring, recurring_run_id, "RecurringRun")
        del self.recurring[recurring_run_id]
        return {}

    def _require_namespace(self, namespace):
        if self.multi_user and not namespace:
            raise Refused(400, "Namespace is empty. Must be specified in multi-user mode")

    def _require_job(self, body, what):
        """What runs and recurring runs have in common."""
        require(body.get("display_name"), f"{what} name is empty. Please specify a valid name")
        get(self.experiments, body.get("experiment_id"), "Experiment")
        reference = body.get("pipeline_version_reference", {})
        version = get(self.versions, reference.get("pipeline_version_id"), "PipelineVersion")
        if version["pipeline_id"] != reference.get("pipeline_id"):
            raise Refused(400, "Pipeline version belongs to another pipeline")
        runtime = body.get("runtime_config", {})
        check_arguments(version["pipeline_spec"], runtime.get("parameters", {}))
        root = runtime.get("pipeline_root", "")
        if root and not re.match(r"(gs|s3|minio)://[^/?]+", root):
            raise Refused(400, f"unsupported Cloud bucket: {root}")

    def _page(self, key, kept, query):
        found = list(kept.values())
        if wanted := query.get("filter"):
            found = [item for item in found if matches(item, wanted)]
        if namespace := query.get("namespace"):
            found = [item for item in found if item.get("namespace", "") == namespace]
        begin, size = int(query.get("page_token") or 0), int(query.get("page_size") or 20)
        page = {key: found[begin : begin + size], "total_size": len(found)}
        return {**page, "next_page_token": str(begin + size)} if begin + size < len(found) else page


def _json(answer, status):
    return Response(json.dumps(answer), status, content_type="application/json")


def _error(status, message):
    return _json({"error": message, "code": CODES.get(status, 13), "message": message, "details": []}, status)
