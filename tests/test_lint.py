"""Each lint rule finds its fault, and only that, in a file that is otherwise whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lint_cases import BOX, CASES, EPOCHS, MAKE, REMOVE, WHOLE, changed
from small_spec import valid_spec

from gated_pipelines.kubeflow.lint import imports as lint_imports
from gated_pipelines.kubeflow.lint.command import lint
from gated_pipelines.kubeflow.lint.containers import quantity
from gated_pipelines.kubeflow.lint.linting import (
    ALL_RULES,
    FILE_RULES,
    IMPORT_RULES,
    SPEC_RULES,
    Finding,
    lint_data,
    lint_file,
)
from gated_pipelines.kubeflow.lint.view import texts_in
from gated_pipelines.kubeflow.local_paths import is_local

DOCS = Path(__file__).parents[1] / "pipelines" / "docs" / "lint.md"
PENGUINS = Path(__file__).parents[1] / "data" / "penguins" / "pipeline.yaml"


def told(findings):
    return [f"{finding.rule}: {finding.message}" for finding in findings]


@pytest.mark.parametrize(("rule", "says", "where", "changes"), CASES)
def test_one_fault_is_one_finding(rule, says, where, changes):
    (finding,) = lint_data(changed(*changes))
    assert finding.rule == rule
    assert says in finding.message
    assert finding.where == where
    assert finding.severity == {r.name: r.severity for r in SPEC_RULES}[rule]


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        pytest.param((f"{MAKE}.cachingOption", {}), "Write cachingOptions.", id="a misspelt field"),
        pytest.param((f"{BOX}.zzz", {}), "Remove the field, or correct its name.", id="an unknown field"),
        pytest.param(
            (f"{BOX}.resources", {"resourceMemoryLimit": "4G"}),
            "Write memoryLimit: 4.0 (in GB) instead, which every server and Vertex AI read.",
            id="a newer field with an older form",
        ),
        pytest.param(
            (EPOCHS, {"type": "INT", "defaultValue": 1}), "Write parameterType: NUMBER_INTEGER.", id="an old type"
        ),
        pytest.param((EPOCHS, {"defaultValue": 1}), "Give it a parameterType.", id="no type"),
    ],
)
def test_how_to_mend_it_is_said_as_exactly_as_it_is_known(change, fix):
    (finding,) = lint_data(changed(change))
    assert finding.fix == fix


def test_every_rule_has_a_case():
    assert {param.values[0] for param in CASES} == {rule.name for rule in SPEC_RULES}


@pytest.mark.parametrize("changes", WHOLE)
def test_what_is_whole_has_no_finding_and_loads_with_the_kfp_sdk(changes, tmp_path):
    from kfp.components import load_component_from_file

    spec = changed(*changes)
    assert told(lint_data(spec)) == []
    path = tmp_path / "whole.yaml"
    path.write_text(json.dumps(spec))
    assert load_component_from_file(str(path)).pipeline_spec.schema_version == "2.1.0"


def nodes(data, path=()):
    yield path
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from nodes(value, (*path, key))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["{{$.x}}", "/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
PLACES = sorted(nodes(valid_spec()), key=repr)


def replaced(data, path, value):
    """`data` with another value, or none, at a path; unchanged where the path has gone."""
    if not path:
        return None if value is REMOVE else value
    key, *rest = path
    if isinstance(data, dict) and key in data:
        pairs = {k: replaced(v, rest, value) if k == key else v for k, v in data.items()}
        return {k: v for k, v in pairs.items() if k != key or rest or value is not REMOVE}
    if isinstance(data, list) and isinstance(key, int) and key < len(data):
        inner = [] if not rest and value is REMOVE else [replaced(data[key], rest, value)]
        return [*data[:key], *inner, *data[key + 1 :]]
    return data


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), ANYTHING | st.just(REMOVE)), min_size=1, max_size=3))
def test_whatever_stands_in_a_file_gives_findings_and_no_traceback(changes):
    spec = valid_spec()
    for path, value in changes:
        spec = replaced(spec, path, value)
    findings = lint_data(spec)
    assert all(isinstance(finding, Finding) and finding.message.endswith(".") for finding in findings)
    view = lint_imports.View(spec if isinstance(spec, dict) else {})
    assert all(isinstance(each.name, str) for each in lint_imports.wanted(view))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([path for path in PLACES if path]))
def test_a_file_without_findings_is_one_that_kfp_loads(path):
    from kfp.components import load_component_from_text

    spec = replaced(valid_spec(), path, REMOVE)
    if not lint_data(spec):
        load_component_from_text(json.dumps(spec))


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("2", 2),
        ("500m", 0.5),
        ("1Gi", 2**30),
        ("1.5G", 1.5e9),
        ("1e3", 1000),
        ("2E", 2e18),
        ("1Ei", 2**60),
        ("1E2", 100),
        (4.0, 4),
        ("2 cores", None),
        ("-1", None),
        ("", None),
        (True, None),
    ],
)
def test_amounts_are_those_of_kubernetes(written, amount):
    said = quantity(written)
    assert (said is None and amount is None) or float(said) == amount


@pytest.mark.parametrize(
    ("value", "local"),
    [
        ("/home/me/data", True),
        ("~/data", True),
        ("./data", True),
        ("../data.csv", True),
        ("file:///data", True),
        (r"C:\data", True),
        ("data/penguins.csv", False),
        ("gs://bucket/x", False),
        ("/gcs/bucket/x", False),
        ("a / b", False),
        ("/", False),
        ("// a comment", False),
        (".", True),
        ("", False),
    ],
)
def test_what_a_path_of_one_machine_is(value, local):
    assert is_local(value) is local


# The file, and the command.


def run(path, *options):
    return CliRunner().invoke(lint, [str(path), "--no-import", *options])


@pytest.mark.parametrize(
    ("content", "rule", "says"),
    [
        pytest.param(None, "unreadable", "No such file", id="no file"),
        pytest.param(b"", "unreadable", "is empty", id="an empty file"),
        pytest.param(b"\xff\xfe", "unreadable", "not UTF-8", id="no text"),
        pytest.param(b"a: [", "not-yaml", "not valid YAML", id="no YAML"),
        pytest.param(b"a: 1\n---\nb: 2\n", "not-yaml", "second document", id="two documents"),
        pytest.param(b"a: 1\na: 2\n", "not-yaml", "there twice", id="a key that is there twice"),
        pytest.param(b"- 1\n", "not-yaml", "must hold a mapping", id="a list"),
        pytest.param(
            PENGUINS.read_bytes(), "not-compiled", "This is a pipeline.yaml, not a compiled", id="a pipeline.yaml"
        ),
        pytest.param(b"a: " + b"x" * 2**20, "too-large", "1048579 bytes", id="too large"),
    ],
)
def test_a_file_that_holds_no_spec(content, rule, says, tmp_path):
    path = tmp_path / "compiled.yaml"
    if content is not None:
        path.write_bytes(content)
    (finding,) = lint_file(path, None)
    assert (finding.rule, finding.severity) == (rule, "error")
    assert says in finding.message


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=40) | st.text(alphabet="{}[]:-,'\"& *!ab\n", max_size=40).map(str.encode))
def test_whatever_bytes_a_file_holds_give_findings_and_no_traceback(content, tmp_path):
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    assert any(finding.severity == "error" for finding in lint_file(path, None))


def test_texts_are_found_in_json_in_json_however_deep():
    inner = json.dumps({"base": "/x", "n": 1})
    assert list(texts_in({"a": [json.dumps([inner]), "b"]})) == ["/x", "b"]
    assert list(texts_in("[" * 900 + '"c"' + "]" * 900)) == ["c"]
    assert list(texts_in("[" * 100_000)) == ["[" * 100_000]


def test_a_folder_is_no_file(tmp_path):
    (finding,) = lint_file(tmp_path, None)
    assert finding.rule == "unreadable"


def test_a_pipeline_job_is_looked_into(tmp_path):
    path = tmp_path / "job.json"
    spec = changed(("schemaVersion", "2.0.0"))
    path.write_text(json.dumps({"pipelineSpec": spec, "runtimeConfig": {"gcsOutputDirectory": "gs://b"}}))
    findings = lint_file(path, None)
    assert {(f.rule, f.where) for f in findings} == {
        ("pipeline-job", "pipelineSpec"),
        ("schema-version", "pipelineSpec.schemaVersion"),
    }


def test_findings_name_the_line(tmp_path):
    path = tmp_path / "compiled.yaml"
    path.write_text("schemaVersion: 2.1.0\npipelineInfo:\n  name: Bad\nroot: {}\n")
    assert [(f.rule, f.line) for f in lint_file(path, None)] == [("pipeline-name", 3), ("root-dag", 4)]
    output = run(path).output
    assert f"{path}:3: error: A pipeline's name must be" in output
    assert "  [root-dag] The API server: " in output
    assert f"{path}: 2 errors and 0 warnings. Imports were left out (--no-import).\n" in output


def test_every_rule_of_the_file_has_a_test():
    source = Path(__file__).read_text()
    assert all(f'"{rule.name}"' in source for rule in (*FILE_RULES, *IMPORT_RULES))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param((), 0, id="a whole file gives 0"),
        pytest.param(((f"{BOX}.image", "me"),), 0, id="warnings alone give 0"),
        pytest.param((("schemaVersion", REMOVE),), 1, id="an error gives 1"),
    ],
)
def test_exit_codes_and_json(changes, code, tmp_path):
    path = tmp_path / "compiled.json"
    path.write_text(json.dumps(changed(*changes)))
    result = run(path, "--json")
    assert result.exit_code == code
    findings = json.loads(result.stdout.strip().splitlines()[-1])
    assert len(findings) == len(changes)
    assert all({"rule", "severity", "where", "line", "message", "breaks", "fix"} == set(f) for f in findings)
    assert "Imports were left out (--no-import)." in run(path).output


WRONG = {
    ("class", "tfx.components.trainer.executor.GenericExecutor"): "ImportError: no",
    ("function", "gated_pipelines.trainer.run_fn"): "AttributeError: no",
    ("type", "tfx.Model"): "ModuleNotFoundError: no",
    ("module", "gated_pipelines.kubeflow.entrypoint"): "there is no such module",
}


@pytest.mark.parametrize(
    ("kind", "rule", "places"),
    [
        pytest.param("class", "executor-class", 1, id="an executor class"),
        pytest.param("function", "function-name", 1, id="a run_fn"),
        pytest.param("type", "artifact-type", 2, id="the type of an output and of an input, named once"),
        pytest.param("module", "entrypoint", 2, id="the entrypoint of two executors"),
    ],
)
def test_a_name_that_does_not_import(kind, rule, places, tmp_path):
    path = tmp_path / "compiled.json"
    path.write_text(json.dumps(valid_spec()))
    wrong = {key: error for key, error in WRONG.items() if key[0] == kind}
    (finding,) = lint_file(path, lambda view: wrong)
    assert finding.rule == rule
    assert f"does not import: {next(iter(wrong.values()))}." in finding.message
    assert ("It is named in 2 places." in finding.message) is (places == 2)


def test_a_process_that_dies_is_an_error_and_not_a_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(lint_imports, "_CHILD", "import os; os._exit(3)")
    path = tmp_path / "compiled.json"
    path.write_text(json.dumps(valid_spec()))
    (finding,) = lint_file(path, lint_imports.tried)
    assert (finding.rule, finding.severity) == ("imports", "error")
    assert "exit code 3" in finding.message


def test_the_page_lists_the_rules():
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split(" | "))
        for line in DOCS.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    assert rows == [(f"`{rule.name}`", rule.severity, rule.breaks, rule.fix) for rule in ALL_RULES]


def test_names_of_rules_are_unique():
    names = [rule.name for rule in ALL_RULES]
    assert len(names) == len(set(names))
