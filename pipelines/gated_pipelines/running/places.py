"""Where a run puts things: everything below one root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of a pipeline's root."""

    root: Path

    @property
    def data(self) -> Path:
        """Staged tables, named by their content."""
        return self.root / "data"

    @property
    def store(self) -> Path:
        """The checkpoint store."""
        return self.root / "store"

    @property
    def artifacts(self) -> Path:
        """TFX's artifacts."""
        return self.root / "artifacts"

    @property
    def metadata(self) -> Path:
        """ML Metadata's database."""
        return self.root / "metadata.sqlite"

    @property
    def logs(self) -> Path:
        """One log file a run: everything that TFX, Beam and TensorFlow say."""
        return self.root / "logs"

    @property
    def report(self) -> Path:
        """The report of the last run."""
        return self.root / "report.html"

    @property
    def state(self) -> Path:
        """What the next run must know of the earlier ones."""
        return self.root / "state.json"
