"""Faults and no faults, as changes of the small spec: one for each rule at least, each with what is said of it."""

from __future__ import annotations

import copy
import json

import pytest
from small_spec import model_type, valid_spec

from gated_pipelines.kubeflow.lint.parameters import MAX_ARGUMENT

REMOVE = object()


def put(data, path, value):
    """Sets, adds or removes what stands at a path of dots; `+` at its end appends to a list."""
    *parents, last = path.split(".")
    for key in parents:
        data = data[int(key)] if isinstance(data, list) else data.setdefault(key, {})
    if value is REMOVE:
        del data[int(last) if isinstance(data, list) else last]
    elif isinstance(data, list):
        data.append(value) if last == "+" else data.__setitem__(int(last), value)
    else:
        data[last] = value


TASKS, MAKE, USE = "root.dag.tasks", "root.dag.tasks.Make", "root.dag.tasks.Use"
RUN_FN = f"{MAKE}.inputs.parameters.run_fn.runtimeValue"
MODEL = f"{USE}.inputs.artifacts.model.taskOutputArtifact"
BOX = "deploymentSpec.executors.Make_executor.container"
EPOCHS = "root.inputDefinitions.parameters.epochs"
TITLED = {"artifactType": {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}}
OTHER = {"taskInfo": {"name": "other"}, "componentRef": {"name": "Other"}}


def case(rule, says, where, *changes, id):
    return pytest.param(rule, says, where, changes, id=id)


def example_gen(cached):
    return (
        (f"{BOX}.args.1", "tfx.components.example_gen.csv_example_gen.executor.Executor"),
        ("components.Make.inputDefinitions.parameters.input_base", {"parameterType": "STRING"}),
        (f"{MAKE}.inputs.parameters.input_base", {"runtimeValue": {"constant": "gs://bucket/data"}}),
        (f"{MAKE}.cachingOptions.enableCache", cached),
        (
            f"{BOX}.args.5",
            json.dumps({"parameters": {"epochs": {}, "run_fn": {}, "input_base": {"parameterType": "STRING"}}}),
        ),
    )


def nested(dag):
    """A component that is a dag, and a task of it."""
    return (("components.Other", {"dag": dag}), (f"{TASKS}.other", copy.deepcopy(OTHER)))


def takes_output(kind, **more):
    """Make takes its epochs from an output parameter of another task."""
    return (
        PLAIN,
        PLAIN_BOX,
        ("components.Plain.outputDefinitions.parameters.n", {"parameterType": kind}),
        (f"{TASKS}.i", INNER),
        (f"{MAKE}.dependentTasks", ["i"]),
        (
            f"{MAKE}.inputs.parameters.epochs",
            {"taskOutputParameter": {"producerTask": "i", "outputParameterKey": "n"}, **more},
        ),
    )


INNER = {"taskInfo": {"name": "i"}, "componentRef": {"name": "Plain"}}
PLAIN = ("components.Plain", {"executorLabel": "Plain_executor"})
PLAIN_BOX = ("deploymentSpec.executors.Plain_executor", {"container": {"image": "i:1", "command": ["true"]}})

KNOWN = {
    name: {"parameterType": "NUMBER_INTEGER" if name == "epochs" else "STRING", "defaultValue": value}
    for name, value in {
        "data": "data/table.csv",
        "epochs": 3.0,
        "push_folder": "serving",
        "root": "gs://bucket",
        "rules": "{save: {every: 1}, filter: {every: 1}}",
        "span": "",
    }.items()
}

CASES = [
    case("schema-version", "is missing", "schemaVersion", ("schemaVersion", REMOVE), id="no schema version"),
    case("schema-version", "'2.0.0'", "schemaVersion", ("schemaVersion", "2.0.0"), id="that of Vertex AI's files"),
    case("unknown-field", "no field 'owner'", "owner", ("owner", "me"), id="a field at the top"),
    case(
        "unknown-field",
        "TaskInputsSpec has no field 'parameter'",
        f"{MAKE}.inputs.parameter",
        (f"{MAKE}.inputs.parameter", {}),
        id="a misspelt field in the middle",
    ),
    case(
        "unknown-field", "no field 'restart'", f"{BOX}.restart", (f"{BOX}.restart", 1), id="a field of the deployment"
    ),
    case(
        "unknown-field",
        "must be written 'sdkVersion'",
        "sdk_version",
        ("sdkVersion", REMOVE),
        ("sdk_version", "tfx"),
        id="a name in snake_case",
    ),
    case("field-value", "sdkVersion cannot hold 5", "sdkVersion", ("sdkVersion", 5), id="a number for a text"),
    case(
        "field-value",
        "artifacts must be a mapping",
        "root.inputDefinitions.artifacts",
        ("root.inputDefinitions.artifacts", []),
        id="a list for a mapping of names",
    ),
    case("field-value", "must be a list", f"{BOX}.env", (f"{BOX}.env", {"A": "b"}), id="a mapping for a list"),
    case(
        "field-value",
        "must be a mapping",
        f"{MAKE}.cachingOptions",
        (f"{MAKE}.cachingOptions", True),
        id="a flag for a mapping",
    ),
    case(
        "newer-field",
        "servers up to 2.4 ignore it",
        f"{BOX}.resources.resourceCpuLimit",
        (f"{BOX}.resources", {"resourceCpuLimit": "2"}),
        id="resources that old servers lose",
    ),
    case(
        "newer-field",
        "refuse the whole file",
        f"{MAKE}.cachingOptions.cacheKey",
        (f"{MAKE}.cachingOptions.cacheKey", "k"),
        id="a field that old servers refuse",
    ),
    case("pipeline-name", "must have a name", "pipelineInfo.name", ("pipelineInfo", {}), id="no name"),
    case("pipeline-name", "'Small'", "pipelineInfo.name", ("pipelineInfo.name", "Small"), id="a capital letter"),
    case("pipeline-name", "'my_p'", "pipelineInfo.name", ("pipelineInfo.name", "my_p"), id="an underscore"),
    case(
        "pipeline-name",
        "'gated-penguins.v2'",
        "pipelineInfo.name",
        ("pipelineInfo.name", "gated-penguins.v2"),
        id="a dot in the name, which every server refuses",
    ),
    case("pipeline-name", "57", "pipelineInfo.name", ("pipelineInfo.name", "p" * 58), id="a name too long for a label"),
    case("root-dag", "no root", "root", ("root", REMOVE), id="no root"),
    case("root-dag", "no dag with tasks", "root", ("root.dag.tasks", {}), id="a root without tasks"),
    case(
        "reserved-name",
        "'root'",
        "components.root",
        ("components.root", {"executorLabel": "Make_executor"}),
        (f"{BOX}.args", []),
        id="a component called root",
    ),
    case(
        "pipeline-root",
        "'/data/x'",
        "defaultPipelineRoot",
        ("defaultPipelineRoot", "/data/x"),
        id="a pipeline root on a disk",
    ),
    case(
        "unknown-component",
        "'Nobody'",
        f"{TASKS}.other.componentRef",
        (f"{TASKS}.other", {**OTHER, "componentRef": {"name": "Nobody"}}),
        id="a component that is not there",
    ),
    case("unknown-producer", "'Nobody'", MODEL, (f"{MODEL}.producerTask", "Nobody"), id="an unknown producer"),
    case(
        "unknown-producer",
        "'Nobody'",
        f"{USE}.dependentTasks[1]",
        (f"{USE}.dependentTasks.+", "Nobody"),
        id="an unknown task to wait for",
    ),
    case(
        "unknown-producer",
        "'gone'",
        "components.Other.dag.outputs.artifacts.o.artifactSelectors[0]",
        *nested(
            {
                "tasks": {"i": INNER},
                "outputs": {"artifacts": {"o": {"artifactSelectors": [{"producerSubtask": "gone"}]}}},
            }
        ),
        PLAIN,
        PLAIN_BOX,
        id="an output of a dag from a task that it has not",
    ),
    case(
        "unknown-producer",
        "'gone'",
        "components.Other.dag.outputs.parameters.o.valueFromParameter",
        *nested(
            {
                "tasks": {"i": INNER},
                "outputs": {"parameters": {"o": {"valueFromParameter": {"producerSubtask": "gone"}}}},
            }
        ),
        PLAIN,
        PLAIN_BOX,
        id="a parameter of a dag from a task that it has not",
    ),
    case("unknown-output", "no output 'gone'", MODEL, (f"{MODEL}.outputArtifactKey", "gone"), id="an unknown output"),
    case(
        "undeclared-input",
        "no input 'extra'",
        f"{MAKE}.inputs.parameters.extra",
        (f"{MAKE}.inputs.parameters.extra", {"runtimeValue": {"constant": "x"}}),
        id="an input that its component does not define",
    ),
    case(
        "unknown-input",
        "'the pipeline' has no input 'gone'",
        f"{MAKE}.inputs.parameters.epochs.componentInputParameter",
        (f"{MAKE}.inputs.parameters.epochs.componentInputParameter", "gone"),
        id="a parameter that the pipeline does not have",
    ),
    case(
        "missing-input",
        "must give the input 'run_fn'",
        MAKE,
        (f"{MAKE}.inputs.parameters.run_fn", REMOVE),
        id="a parameter that is not given",
    ),
    case(
        "missing-input",
        "must give the input 'model'",
        USE,
        (f"{USE}.inputs.artifacts", REMOVE),
        id="an artifact that is not given",
    ),
    case(
        "missing-input",
        "counts only where isOptional is true",
        "components.Make.inputDefinitions.parameters.run_fn",
        (f"{MAKE}.inputs.parameters.run_fn", REMOVE),
        ("components.Make.inputDefinitions.parameters.run_fn.defaultValue", "a.b"),
        id="a default that does not count",
    ),
    case(
        "missing-dependency",
        "dependentTasks does not list",
        f"{USE}.inputs.artifacts.model",
        (f"{USE}.dependentTasks", []),
        id="a producer that is not waited for",
    ),
    case("cycle", "Make → Use → Make", f"{TASKS}.Make", (f"{MAKE}.dependentTasks", ["Use"]), id="tasks in a circle"),
    case(
        "cycle", "Make → Make", f"{TASKS}.Make", (f"{MAKE}.dependentTasks", ["Make"]), id="a task that waits for itself"
    ),
    case(
        "cycle",
        "contain each other: Other → Other",
        "components.Other",
        *nested({"tasks": {"other": {**OTHER}}}),
        id="a component within itself",
    ),
    case(
        "task-name",
        "'my_task'",
        f"{TASKS}.my_task",
        (f"{TASKS}.my_task", {**INNER, "taskInfo": {"name": "my_task"}}),
        PLAIN,
        PLAIN_BOX,
        id="an underscore in a task's name",
    ),
    case(
        "task-name",
        "Argo's driver",
        f"{TASKS}.Make-driver",
        (f"{TASKS}.Make-driver", {**INNER, "taskInfo": {"name": "Make-driver"}}),
        PLAIN,
        PLAIN_BOX,
        id="the name of another task's driver",
    ),
    case("task-info", "taskInfo.name", f"{MAKE}.taskInfo", (f"{MAKE}.taskInfo", REMOVE), id="a task without taskInfo"),
    case(
        "retry-policy",
        "no backoffMaxDuration",
        f"{MAKE}.retryPolicy",
        (f"{MAKE}.retryPolicy", {"maxRetryCount": 2, "backoffDuration": "30s", "backoffFactor": 2.0}),
        id="retries without a longest time, as the newest servers read them",
    ),
    case(
        "retry-policy",
        "no backoffMaxDuration",
        f"{MAKE}.retryPolicy",
        (f"{MAKE}.retryPolicy", {"maxRetryCount": 2, "backoffMaxDuration": "0s"}),
        id="retries within no time",
    ),
    case(
        "retry-policy",
        "-1 times",
        f"{MAKE}.retryPolicy.maxRetryCount",
        (f"{MAKE}.retryPolicy", {"maxRetryCount": -1, "backoffMaxDuration": "604800s"}),
        id="fewer retries than none",
    ),
    *(
        case(
            "looks-outside",
            f"'Make' depends on {what}",
            f"{MAKE}.cachingOptions.enableCache",
            (f"{BOX}.args.1", f"{module}.executor.Executor"),
            id=f"a cached task that depends on {what}",
        )
        for module, what in (
            ("gated_pipelines.table_example_gen", "the table"),
            ("checkpoint_gate.checkpoint_filter", "the store"),
            ("checkpoint_gate.champion", "the push folder"),
            ("checkpoint_gate.pusher", "the push folder"),
        )
    ),
    case(
        "task-label",
        "'Make' has the name 'Made' in its taskInfo",
        f"{MAKE}.taskInfo.name",
        (f"{MAKE}.taskInfo.name", "Made"),
        id="a task with another name",
    ),
    case(
        "artifact-mismatch",
        "'model' of 'Use' must be a tfx.Examples, but 'Make' makes a tfx.Model",
        f"{USE}.inputs.artifacts.model",
        (
            "components.Use.inputDefinitions.artifacts.model",
            {"artifactType": {"instanceSchema": "title: tfx.Examples\ntype: object\n"}},
        ),
        id="a model for examples",
    ),
    case(
        "machine-path",
        "A word of 'Make_executor' names a home folder: '/home/me/beam'",
        f"{BOX}.args[6]",
        (f"{BOX}.args.6", "--temp_location=/home/me/beam"),
        id="a home folder in an argument",
    ),
    case(
        "machine-path",
        "The variable CODE of 'Make_executor' names a home folder: '~/code'",
        f"{BOX}.env[0].value",
        (f"{BOX}.env", [{"name": "CODE", "value": "~/code"}]),
        id="a home folder in the environment",
    ),
    case(
        "unsupported-task",
        "loops over artifacts",
        f"{USE}.artifactIterator",
        (f"{USE}.artifactIterator", {"items": {"inputArtifact": "model"}, "itemInput": "model"}),
        id="a loop over artifacts",
    ),
    case(
        "unsupported-task",
        "importer under a condition",
        f"{TASKS}.i.triggerPolicy",
        (f"{TASKS}.i", {**INNER, "triggerPolicy": {"condition": "true"}}),
        PLAIN,
        (
            "deploymentSpec.executors.Plain_executor",
            {"importer": {"artifactUri": {"constant": "gs://b/a"}, "typeSchema": {"schemaTitle": "system.Model"}}},
        ),
        id="an importer under a condition",
    ),
    case(
        "several-artifacts",
        "'model' of 'Use' is a list of artifacts",
        "components.Use.inputDefinitions.artifacts.model",
        ("components.Use.inputDefinitions.artifacts.model.isArtifactList", True),
        id="a list of artifacts for TFX",
    ),
    case(
        "several-artifacts",
        "'o' of 'Plain' is a list of artifacts",
        "components.Plain.outputDefinitions.artifacts.o",
        PLAIN,
        PLAIN_BOX,
        ("components.Plain.outputDefinitions.artifacts.o", {**model_type(), "isArtifactList": True}),
        id="a list of artifacts from a container",
    ),
    case(
        "parameter-type",
        "type: INT",
        "components.Make.inputDefinitions.parameters.epochs",
        ("components.Make.inputDefinitions.parameters.epochs", {"type": "INT"}),
        id="the type of schema 2.0",
    ),
    case("parameter-type", "Received: 2", EPOCHS, (f"{EPOCHS}.parameterType", 2), id="a type as a number"),
    case(
        "parameter-default",
        "must be a NUMBER_INTEGER. Received: 2.5",
        f"{EPOCHS}.defaultValue",
        (f"{EPOCHS}.defaultValue", 2.5),
        id="half an epoch",
    ),
    case(
        "parameter-default",
        "Received: True",
        f"{EPOCHS}.defaultValue",
        (f"{EPOCHS}.defaultValue", True),
        id="a truth value is no number",
    ),
    case(
        "parameter-value",
        "the rules must have the section `filter`",
        "root.inputDefinitions.parameters.rules.defaultValue",
        *(("root.inputDefinitions.parameters." + name, one) for name, one in KNOWN.items()),
        ("root.inputDefinitions.parameters.rules.defaultValue", "save: {every: 1}"),
        id="rules that would stop a run after training",
    ),
    case(
        "no-default", "'epochs' has no default", EPOCHS, (f"{EPOCHS}.defaultValue", REMOVE), id="a parameter to ask for"
    ),
    case(
        "no-default",
        "task 'Make' needs a value",
        EPOCHS,
        (EPOCHS, {"parameterType": "NUMBER_INTEGER", "isOptional": True}),
        id="an optional parameter that a task needs",
    ),
    case(
        "root-artifact",
        "'model'",
        "root.inputDefinitions.artifacts.model",
        ("root.inputDefinitions.artifacts", {"model": TITLED}),
        id="an artifact from outside",
    ),
    case(
        "root-artifact",
        "has no schemaTitle",
        "root.outputDefinitions.artifacts.model.artifactType",
        ("root.outputDefinitions.artifacts", {"model": model_type()}),
        id="an artifact of the pipeline that the SDK cannot load",
    ),
    case(
        "constant-type",
        "must be a STRING. Received: 5",
        f"{RUN_FN}.constant",
        (f"{RUN_FN}.constant", 5),
        id="a number for a STRING",
    ),
    case(
        "constant-type",
        "is a STRING, but is given a NUMBER_INTEGER",
        f"{USE}.inputs.parameters.push_destination",
        (f"{USE}.inputs.parameters.push_destination.componentInputParameter", "epochs"),
        id="a parameter of another type",
    ),
    case(
        "runtime-value",
        "must hold `constant`. Received: constantValue",
        RUN_FN,
        (RUN_FN, {"constantValue": {"stringValue": "a.b"}}),
        id="a value in the form of schema 2.0",
    ),
    case(
        "constant-type",
        "is a NUMBER_INTEGER, but is given a STRING",
        f"{MAKE}.inputs.parameters.epochs",
        *takes_output("STRING"),
        id="an output of another type",
    ),
    case(
        "runtime-value",
        "no source of its artifact",
        f"{USE}.inputs.artifacts.model",
        (f"{USE}.inputs.artifacts.model", {}),
        id="an artifact without a source",
    ),
    case(
        "runtime-value",
        "no source of its value",
        f"{MAKE}.inputs.parameters.run_fn",
        (f"{MAKE}.inputs.parameters.run_fn", {}),
        id="an input without a source",
    ),
    case(
        "argo-template",
        "{{workflow.name}}",
        f"{RUN_FN}.constant",
        (f"{RUN_FN}.constant", "a-{{workflow.name}}"),
        id="a variable of Argo",
    ),
    case(
        "argument-size",
        f"fit into one command-line argument, {MAX_ARGUMENT}",
        f"{MAKE}.inputs.parameters",
        (f"{RUN_FN}.constant", "x" * MAX_ARGUMENT),
        id="more than fits into an argument",
    ),
    case(
        "executor-kind",
        "a Resolver",
        "deploymentSpec.executors.r.resolver",
        ("deploymentSpec.executors.r", {"resolver": {}}),
        id="a resolver",
    ),
    case(
        "executor-kind",
        "custom job",
        "deploymentSpec.executors.r.customJob",
        ("deploymentSpec.executors.r", {"customJob": {"customJob": {}}}),
        id="a custom job of Vertex AI",
    ),
    case(
        "executor-kind",
        "neither a container nor an importer",
        "deploymentSpec.executors.r",
        ("deploymentSpec.executors.r", {}),
        id="an empty executor",
    ),
    case(
        "no-executor",
        "no executor 'gone'",
        "components.Plain.executorLabel",
        ("components.Plain", {"executorLabel": "gone"}),
        id="a label without an executor",
    ),
    case(
        "no-executor",
        "neither an executorLabel nor a dag",
        "components.Plain",
        ("components.Plain", {}),
        id="a component without an implementation",
    ),
    case("no-image", "'Make_executor'", BOX, (f"{BOX}.image", REMOVE), id="no image"),
    case("no-command", "'Make_executor'", BOX, (f"{BOX}.command", []), id="no command"),
    *(
        case("image-name", repr(image), f"{BOX}.image", (f"{BOX}.image", image), id=what)
        for image, what in (
            ("x y:1", "a blank in the image's name"),
            ("R/X:1", "capital letters in the image's name"),
            ("https://r/x:1", "a URL for an image"),
        )
    ),
    case("image-tag", "no tag: localhost:5000/me", f"{BOX}.image", (f"{BOX}.image", "localhost:5000/me"), id="no tag"),
    case(
        "image-tag",
        "The image of 2 executors",
        f"{BOX}.image",
        (f"{BOX}.image", "me"),
        ("deploymentSpec.executors.Use_executor.container.image", "me"),
        id="one image of two executors",
    ),
    case("image-tag", "the tag latest", f"{BOX}.image", (f"{BOX}.image", "me:latest"), id="the latest image"),
    case(
        "pre-cache-check",
        "preCacheCheck",
        f"{BOX}.lifecycle.preCacheCheck",
        (f"{BOX}.lifecycle", {"preCacheCheck": {"command": ["true"]}}),
        id="a hook before the cache",
    ),
    case(
        "placeholder",
        "no such parameter among its inputs",
        f"{BOX}.args[6]",
        (f"{BOX}.args.6", "{{$.inputs.parameters['gone']}}"),
        id="a placeholder of no parameter",
    ),
    case(
        "placeholder",
        "that the launcher fills in",
        f"{BOX}.args[6]",
        (f"{BOX}.args.6", "{{$.inputs.artifacts['model'].value}}"),
        id="a placeholder of no kind",
    ),
    case(
        "placeholder",
        "no such artifact among its outputs",
        f"{BOX}.args[6]",
        (f"{BOX}.args.6", "{{$.outputs.artifacts['gone'].uri}}"),
        id="a placeholder of no output",
    ),
    case(
        "placeholder",
        "['gone']}} is no placeholder",
        f"{RUN_FN}.constant",
        (f"{RUN_FN}.constant", "{{$.inputs.parameters['gone']}}"),
        id="a placeholder of no parameter in a constant",
    ),
    case(
        "placeholder",
        "here it is a part",
        f"{RUN_FN}.constant",
        (f"{RUN_FN}.constant", "x-{{$.pipeline_job_name}}"),
        id="a placeholder within a constant",
    ),
    case(
        "placeholder",
        "both backends",
        f"{RUN_FN}.constant",
        (f"{RUN_FN}.constant", "{{$.pipeline_job_color}}"),
        id="a placeholder that no backend knows",
    ),
    case(
        "resources",
        "no amount: -1",
        f"{BOX}.resources.cpuLimit",
        (f"{BOX}.resources", {"cpuLimit": -1}),
        id="less than nothing",
    ),
    case(
        "resources",
        "more memory than its limit",
        f"{BOX}.resources",
        (f"{BOX}.resources", {"memoryLimit": 2.0, "memoryRequest": 4.0}),
        id="a request beyond its limit",
    ),
    case(
        "resources",
        "has no type",
        f"{BOX}.resources.accelerator",
        (f"{BOX}.resources", {"accelerator": {"count": "1"}}),
        id="half an accelerator",
    ),
    case(
        "resources",
        "has no count",
        f"{BOX}.resources.accelerator",
        (f"{BOX}.resources", {"accelerator": {"type": "{{$.inputs.parameters['epochs']}}"}}),
        id="the other half",
    ),
    case(
        "resource-request",
        "requests cpu without a limit",
        f"{BOX}.resources",
        (f"{BOX}.resources", {"cpuRequest": 2.0}),
        id="a request that Vertex AI does not read",
    ),
    case(
        "accelerator-name",
        "nvidia.com/gpu, is for open-source Kubeflow only",
        f"{BOX}.resources.accelerator",
        (f"{BOX}.resources", {"accelerator": {"type": "nvidia.com/gpu", "count": "1"}}),
        id="an accelerator of one backend",
    ),
    case(
        "accelerator-name",
        "NVIDIA_TESLA_T4, is for Vertex AI only",
        f"{BOX}.resources.accelerator",
        (f"{BOX}.resources", {"accelerator": {"type": "NVIDIA_TESLA_T4", "count": "1"}}),
        id="an accelerator of the other backend",
    ),
    case(
        "env-name",
        "'MY-VAR'",
        f"{BOX}.env[0]",
        (f"{BOX}.env", [{"name": "MY-VAR", "value": "1"}]),
        id="a hyphen in a variable's name",
    ),
    case(
        "env-name",
        "there twice",
        f"{BOX}.env[1]",
        (f"{BOX}.env", [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
        id="a variable that is there twice",
    ),
    case(
        "stock-entrypoint",
        "TFX's own entrypoint",
        f"{BOX}.command[2]",
        (f"{BOX}.command.2", "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"),
        id="the entrypoint of TFX",
    ),
    case(
        "tfx-arguments",
        "--json_serialized_invocation_args {{$}}",
        f"{BOX}.args[3]",
        (f"{BOX}.args.3", "{}"),
        id="an executor that is told nothing",
    ),
    case(
        "tfx-arguments",
        "parameters: epochs, run_fn",
        f"{BOX}.args[5]",
        (f"{BOX}.args.5", "{}"),
        id="another inputs' spec",
    ),
    case(
        "tfx-arguments",
        "must be given --json_serialized_inputs_spec_args",
        BOX,
        (f"{BOX}.args.5", REMOVE),
        (f"{BOX}.args.4", REMOVE),
        id="no inputs' spec",
    ),
    case(
        "tfx-arguments",
        "must be given --json_serialized_invocation_args",
        BOX,
        (f"{BOX}.args.3", REMOVE),
        (f"{BOX}.args.2", REMOVE),
        id="no argument for what it is told",
    ),
    case(
        "artifact-title",
        "has no title",
        "components.Make.outputDefinitions.artifacts.model.artifactType",
        ("components.Make.outputDefinitions.artifacts.model.artifactType", {"instanceSchema": "type: object\n"}),
        id="a type without a name",
    ),
    case(
        "artifact-title",
        "a schemaUri",
        "components.Make.outputDefinitions.artifacts.model.artifactType.schemaUri",
        ("components.Make.outputDefinitions.artifacts.model.artifactType", {"schemaUri": "x.yaml"}),
        id="a type elsewhere",
    ),
    case(
        "module-file",
        "'run_fn' is user code",
        f"{RUN_FN}.constant",
        (f"{RUN_FN}.constant", "trainer@/tmp/_wheels/code.whl"),
        id="a wheel of the compiler's machine",
    ),
    case(
        "local-path",
        "'/home/me/serving'",
        "root.inputDefinitions.parameters.push_folder.defaultValue",
        ("root.inputDefinitions.parameters.push_folder.defaultValue", "/home/me/serving"),
        id="a path in a default",
    ),
    case(
        "local-path",
        "'file:///srv'",
        f"{RUN_FN}.constant",
        (f"{RUN_FN}.constant", json.dumps({"filesystem": {"base_directory": "file:///srv"}})),
        id="a path in JSON in a constant",
    ),
    case(
        "local-path",
        "the artifact of 'Plain_executor' is a path of one machine: '/srv/model'",
        "deploymentSpec.executors.Plain_executor.importer.artifactUri.constant",
        (
            "deploymentSpec.executors.Plain_executor",
            {"importer": {"artifactUri": {"constant": "/srv/model"}, "typeSchema": {"schemaTitle": "system.Model"}}},
        ),
        id="a path that is imported",
    ),
    case(
        "module-file",
        "'module_path' is user code",
        f"{MAKE}.inputs.parameters.module_path.runtimeValue.constant",
        ("components.Make.inputDefinitions.parameters.module_path", {"parameterType": "STRING"}),
        (f"{MAKE}.inputs.parameters.module_path", {"runtimeValue": {"constant": "/home/me/module.py"}}),
        (f"{BOX}.args.5", json.dumps({"parameters": {"epochs": {}, "run_fn": {}, "module_path": {}}})),
        id="a module of the compiler's machine",
    ),
    case(
        "stale-examples",
        "'Make' reads a folder",
        f"{MAKE}.cachingOptions.enableCache",
        *example_gen(True),
        id="an ExampleGen in the cache",
    ),
]


WHOLE = [
    pytest.param(
        tuple((f"root.inputDefinitions.parameters.{name}", one) for name, one in KNOWN.items()),
        id="the parameters of a pipeline that gated-pipeline compile made",
    ),
    pytest.param((), id="the small one"),
    pytest.param(example_gen(False), id="an ExampleGen that is never cached"),
    pytest.param(((f"{BOX}.image", f"me@sha256:{'ab' * 32}"),), id="an image by its digest"),
    pytest.param(((f"{BOX}.resources", {"cpuLimit": 2.0, "memoryLimit": 4.0}),), id="resources in numbers"),
    pytest.param((("defaultPipelineRoot", REMOVE),), id="no pipeline root"),
    pytest.param(
        ((f"{MAKE}.retryPolicy", {"maxRetryCount": 2, "backoffMaxDuration": "604800s"}),),
        id="retries with a longest time",
    ),
    pytest.param(((f"{MAKE}.retryPolicy", {"maxRetryCount": 0}),), id="no retries"),
    pytest.param(
        (
            (f"{BOX}.args.1", "checkpoint_gate.champion.executor.Executor"),
            (f"{MAKE}.cachingOptions.enableCache", False),
        ),
        id="a task that depends on more than its inputs, and is not cached",
    ),
    pytest.param(
        (("components.Use.inputDefinitions.artifacts.model", {"artifactType": {"schemaTitle": "system.Artifact"}}),),
        id="an artifact of any type",
    ),
    pytest.param(
        (
            (f"{BOX}.env", [{"name": "PATH", "value": "/usr/bin:/bin"}]),
            (f"{BOX}.args.6", "--temp_location=/tmp/beam"),
        ),
        id="paths of the image in arguments and environment",
    ),
    pytest.param((("deploymentSpec.@type", "x"),), id="a deployment that names its type"),
    pytest.param(takes_output("NUMBER_DOUBLE"), id="a number for a number"),
    pytest.param(takes_output("STRING", parameterExpressionSelector="parse_json(x)"), id="a part of an output"),
    pytest.param(
        (PLAIN, PLAIN_BOX, ("components.Plain.inputDefinitions.artifacts.o", {**TITLED, "isArtifactList": True})),
        id="a list of artifacts for a container that is not TFX's",
    ),
    pytest.param(((f"{BOX}.image", "{{$.inputs.parameters['run_fn']}}"),), id="an image by a parameter"),
    pytest.param(((f"{BOX}.args.6", "{{$.inputs.parameters['epochs']}}"),), id="a placeholder of an input"),
    pytest.param(((f"{BOX}.resources", {"cpuLimit": 2.0, "cpuRequest": 1.0}),), id="a request below its limit"),
    pytest.param(((f"{RUN_FN}.constant", "{{$.pipeline_job_name}}"),), id="a placeholder alone"),
    pytest.param(((f"{BOX}.args.6", "{{$.outputs.artifacts['model'].uri}}"),), id="a placeholder of an output"),
    pytest.param((("pipelineInfo.name", "gated--penguins-2"),), id="hyphens and a digit in the name"),
    pytest.param((*nested({"tasks": {"i": INNER}}), PLAIN, PLAIN_BOX), id="a dag within the dag"),
    pytest.param(
        (
            (f"{RUN_FN}.constant", "module.{{$.inputs.parameters['pipelinechannel--x']}}"),
            (f"{MAKE}.inputs.parameters.pipelinechannel--x", {"componentInputParameter": "push_folder"}),
        ),
        id="a text with a parameter in it, as the kfp SDK writes it",
    ),
    pytest.param(
        (("root.inputDefinitions.artifacts", {"model": {**TITLED, "isOptional": True}}),),
        id="an artifact from outside that nobody has to give",
    ),
    pytest.param(
        (
            (f"{MAKE}.inputs.parameters.run_fn", REMOVE),
            ("components.Make.inputDefinitions.parameters.run_fn.isOptional", True),
        ),
        id="an optional parameter that is not given",
    ),
]


def changed(*changes):
    spec = valid_spec()
    for path, value in changes:
        put(spec, path, copy.deepcopy(value) if value is not REMOVE else value)
    return spec
