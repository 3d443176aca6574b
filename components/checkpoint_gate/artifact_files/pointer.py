"""The small file in Trainer's `model_run` that leads to the store, which lies outside TFX's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from checkpoint_gate.errors import RunMissing, StoreError
from checkpoint_gate.rules.records import dump_json, load_json
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store.layout import FORMAT, POINTER_FILE


@dataclass(frozen=True, slots=True)
class RunPointer:
    """Where a training run is: the store's folder, and the run's key in it."""

    store: str
    run: str

    def write(self, folder: Path) -> None:
        """Writes the pointer file into `folder`."""
        text = dump_json({"format": FORMAT, "store": self.store, "run": self.run}, indent=1)
        (folder / POINTER_FILE).write_text(text + "\n", encoding="utf-8")

    def open(self, store: str | None = None) -> Run:
        """The run; `store` overrides the place.

        Raises:
          RunMissing: store or run are gone.
        """
        place = store or self.store
        try:
            return Store.open(place).run(self.run)
        except StoreError as error:
            raise RunMissing(
                f"Training run {self.run} is not in the store {place} any more, though the Trainer's result is still "
                f"cached. Run again with --retrain to train anew."
            ) from error


def read_pointer(folder: Path) -> RunPointer:
    """Reads the pointer file of a `model_run` folder.

    Raises:
      StoreError: missing or damaged.
    """
    path = folder / POINTER_FILE
    try:
        value = load_json(path.read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            raise ValueError(f"its format is {value['format']!r}; this version reads format {FORMAT}")
        return RunPointer(str(value["store"]), str(value["run"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} does not lead to a checkpoint store ({error}). The Trainer has to use GatedCheckpoint and write "
            f"the pointer; see checkpoint_gate.artifact_files.pointer."
        ) from error
