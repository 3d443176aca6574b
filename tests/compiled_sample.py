"""A compiled pipeline of two tasks, as small as a server takes it, with parameters of every type."""

from __future__ import annotations

import copy

import yaml

COMPONENT = {
    "executorLabel": "Trainer_executor",
    "inputDefinitions": {"parameters": {"epochs": {"parameterType": "NUMBER_INTEGER"}}},
}
SAMPLE = {
    "pipelineInfo": {"name": "penguins"},
    "schemaVersion": "2.1.0",
    "sdkVersion": "tfx-1.16.0",
    "defaultPipelineRoot": "gs://bucket/penguins/artifacts",
    "components": {"Trainer": COMPONENT, "Pusher": {**COMPONENT, "executorLabel": "Pusher_executor"}},
    "deploymentSpec": {
        "executors": {
            name: {"container": {"image": "image:1", "command": ["python", "-m", "x"], "args": ["{{$}}"]}}
            for name in ("Trainer_executor", "Pusher_executor")
        }
    },
    "root": {
        "dag": {
            "tasks": {
                "Trainer": {
                    "taskInfo": {"name": "Trainer"},
                    "componentRef": {"name": "Trainer"},
                    "cachingOptions": {"enableCache": True},
                    "inputs": {"parameters": {"epochs": {"componentInputParameter": "epochs"}}},
                },
                "Pusher": {
                    "taskInfo": {"name": "Pusher"},
                    "componentRef": {"name": "Pusher"},
                    "dependentTasks": ["Trainer"],
                    "cachingOptions": {},
                    "inputs": {"parameters": {"epochs": {"runtimeValue": {"constant": 0.0}}}},
                },
            }
        },
        "inputDefinitions": {
            "parameters": {
                "data": {"parameterType": "STRING", "defaultValue": "data/penguins.csv"},
                "epochs": {"parameterType": "NUMBER_INTEGER", "defaultValue": 12},
                "rate": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 0.5},
                "fresh": {"parameterType": "BOOLEAN", "defaultValue": False},
                "columns": {"parameterType": "LIST", "defaultValue": []},
                "sizes": {"parameterType": "STRUCT", "defaultValue": {}},
                "root": {"parameterType": "STRING", "defaultValue": "gs://bucket/penguins"},
            }
        },
    },
}


def write_sample(path, change=lambda spec: None):
    """Writes the compiled pipeline, changed, and returns its path."""
    spec = copy.deepcopy(SAMPLE)
    change(spec)
    path.write_text(yaml.safe_dump(spec))
    return path
