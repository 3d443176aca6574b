"""Compiled pipelines handed to Kubeflow Pipelines and Vertex AI."""
