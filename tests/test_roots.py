"""Which texts are roots of a compiled pipeline; compiling, linting, submitting and rehearsing ask alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from lint_cases import KNOWN, changed

from checkpoint_gate.errors import ConfigError
from gated_pipelines.kubeflow.compile.compiling import compile_pipeline
from gated_pipelines.kubeflow.lint.linting import lint_data
from gated_pipelines.kubeflow.places import Disk
from gated_pipelines.kubeflow.rehearsal.plan import make_plan
from gated_pipelines.kubeflow.roots import is_root, require_root
from gated_pipelines.kubeflow.servers.submitting import make_job

TOP = Path(__file__).parents[1]
PENGUINS, COMPILED = TOP / "data/penguins/pipeline.yaml", TOP / "kubeflow/gated-penguins.yaml"
ALL = ("gs://", "s3://", "minio://")

WRONG = [
    pytest.param("gs:///x", id="no bucket"),
    pytest.param("gs://", id="a scheme alone"),
    pytest.param("gs://b u", id="a blank in the bucket"),
    pytest.param("gs://b#f", id="a fragment in the bucket"),
    pytest.param("gs://b//x", id="an empty name"),
    pytest.param("gs://b/../x", id="a way up"),
    pytest.param("gs://b/./x", id="a dot"),
    pytest.param("gs://b/p?x=1", id="a query"),
    pytest.param("gs://b/p#x", id="a fragment"),
    pytest.param("gs://b/p*", id="a wildcard"),
    pytest.param("gs://b/{SPAN}", id="braces"),
    pytest.param("gs://b/x ", id="a blank at the end"),
    pytest.param("gs://b/x\ny", id="a line's end"),
    pytest.param("hdfs://b/x", id="another scheme"),
    pytest.param("penguins", id="a name alone"),
]


@pytest.mark.parametrize(
    "root",
    [
        pytest.param("gs://bucket/penguins", id="a folder in a bucket"),
        pytest.param("s3://my.bucket-1", id="a bucket"),
        pytest.param("minio://b/x/y/", id="a slash at the end"),
        pytest.param("gs://b/my folder/a+b=c,d@e", id="names that buckets take"),
    ],
)
def test_it_is_a_root(root, tmp_path):
    require_root(root)
    assert make_job(COMPILED, [], root, ALL).root == f"{root.rstrip('/')}/artifacts"


@pytest.mark.parametrize("root", WRONG)
def test_what_is_none_is_refused_alike(root, tmp_path):
    assert not is_root(root)
    for ask in (
        lambda: require_root(root),
        lambda: compile_pipeline(PENGUINS, "r/i:1", root),
        lambda: make_job(COMPILED, [], root, ALL),
        lambda: make_job(COMPILED, [f"root={root}"], None, ALL),
    ):
        with pytest.raises(ConfigError, match="root must be a URL with a bucket"):
            ask()
    if "://" in root:
        with pytest.raises(ConfigError, match="root must be"):
            make_plan(COMPILED, root, [], None, None)
    known = {f"root.inputDefinitions.parameters.{name}": one for name, one in KNOWN.items()}
    default = "root.inputDefinitions.parameters.root.defaultValue"
    found = lint_data(changed(*known.items(), ("defaultPipelineRoot", f"{root}/artifacts"), (default, root)))
    assert {finding.rule for finding in found} == {"pipeline-root", "parameter-value"}
    assert [finding.where for finding in found] == ["defaultPipelineRoot", default]


@pytest.mark.parametrize("root", ["", "/tmp/x", "~/x", "file:///x"])
def test_a_place_on_a_disk_is_no_root(root):
    for ask in (lambda: compile_pipeline(PENGUINS, "r/i:1", root), lambda: make_job(COMPILED, [], root, ALL)):
        with pytest.raises(ConfigError, match=r"root must (not be empty|be a URL with a bucket)"):
            ask()


@pytest.mark.parametrize("root", [param for param in WRONG if "//" in str(param.values[0])])
def test_no_root_that_is_taken_fails_in_the_first_task(root, tmp_path):
    disk = Disk(tmp_path, tmp_path / "scratch")
    try:
        disk.place(f"{root}/artifacts/run/task/model")
    except ConfigError:
        assert not is_root(root)


def test_a_server_takes_only_what_it_can_write_to():
    with pytest.raises(ConfigError, match=r"at one of gs://: give --root\. Received: 's3://b'"):
        make_job(COMPILED, [], "s3://b", ("gs://",))
