"""A small pipeline spec that both backends take: two TFX tasks, the second takes the artifact of the first."""

from __future__ import annotations

import json

ENTRYPOINT = ["python", "-m", "gated_pipelines.kubeflow.entrypoint"]


def model_type():
    return {"artifactType": {"instanceSchema": "title: tfx.Model\ntype: object\n"}}


def container(class_path, inputs):
    return {
        "container": {
            "image": "gcr.io/project/image:v1",
            "command": list(ENTRYPOINT),
            "args": [
                "--executor_class_path",
                class_path,
                "--json_serialized_invocation_args",
                "{{$}}",
                "--json_serialized_inputs_spec_args",
                json.dumps(inputs),
                "--runner=FnApiRunner",
            ],
        }
    }


def valid_spec():
    """A new one each time, for a test to change."""
    make = {"parameters": {"epochs": {"parameterType": "NUMBER_INTEGER"}, "run_fn": {"parameterType": "STRING"}}}
    use = {
        "artifacts": {"model": model_type()},
        "parameters": {"push_destination": {"parameterType": "STRING"}},
    }
    return {
        "schemaVersion": "2.1.0",
        "sdkVersion": "tfx-1.16.0",
        "pipelineInfo": {"name": "small"},
        "defaultPipelineRoot": "gs://bucket/artifacts",
        "components": {
            "Make": {
                "executorLabel": "Make_executor",
                "inputDefinitions": make,
                "outputDefinitions": {"artifacts": {"model": model_type()}},
            },
            "Use": {"executorLabel": "Use_executor", "inputDefinitions": use},
        },
        "deploymentSpec": {
            "executors": {
                "Make_executor": container("tfx.components.trainer.executor.GenericExecutor", make),
                "Use_executor": container("tfx.components.pusher.executor.Executor", use),
            }
        },
        "root": {
            "inputDefinitions": {
                "parameters": {
                    "epochs": {"parameterType": "NUMBER_INTEGER", "defaultValue": 3.0},
                    "push_folder": {"parameterType": "STRING", "defaultValue": "serving"},
                }
            },
            "dag": {
                "tasks": {
                    "Make": {
                        "taskInfo": {"name": "Make"},
                        "componentRef": {"name": "Make"},
                        "cachingOptions": {"enableCache": True},
                        "inputs": {
                            "parameters": {
                                "epochs": {"componentInputParameter": "epochs"},
                                "run_fn": {"runtimeValue": {"constant": "gated_pipelines.trainer.run_fn"}},
                            }
                        },
                    },
                    "Use": {
                        "taskInfo": {"name": "Use"},
                        "componentRef": {"name": "Use"},
                        "dependentTasks": ["Make"],
                        "inputs": {
                            "artifacts": {
                                "model": {"taskOutputArtifact": {"producerTask": "Make", "outputArtifactKey": "model"}}
                            },
                            "parameters": {"push_destination": {"componentInputParameter": "push_folder"}},
                        },
                    },
                }
            },
        },
    }
