"""The champion: the model in production, brought into the pipeline as an artifact."""

from checkpoint_gate.champion.component import Champion as Champion
