"""TFX's Trainer for the tabular model, with what may be set when a run starts as parameters of its own."""

from gated_pipelines.gated_trainer.component import Trainer as Trainer
