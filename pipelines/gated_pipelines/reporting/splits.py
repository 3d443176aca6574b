"""How many rows each split got, and what is too few of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SPLITS = ("train", "eval", "test")
FEWEST = 30
"""Of fewer rows, a metric is mostly chance."""

_MOST = 5


def read_splits(folder: Path, label: str, classes: Sequence[str]) -> dict[str, Counter[str]]:
    """Split -> label -> rows, of an Examples artifact; without classes all rows of a split count under "".

    A split without a file has no rows. Needs TensorFlow, which the run has loaded by then.
    """
    import tensorflow as tf

    found = {}
    for split in SPLITS:
        files = sorted(str(path) for path in (folder / f"Split-{split}").glob("*.gz"))
        rows = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator() if files else ()
        if classes:
            found[split] = Counter(_text(tf.train.Example.FromString(row).features.feature[label]) for row in rows)
        else:
            found[split] = Counter("" for _ in rows)
    return found


def _text(feature: Any) -> str:
    """A class as the staged table writes it: TFX reads those that are whole numbers as such."""
    values = getattr(feature, feature.WhichOneof("kind") or "bytes_list").value
    value = values[0] if values else b""
    return value.decode() if isinstance(value, bytes) else str(value)


def told_of(splits: Mapping[str, Mapping[str, int]], classes: Sequence[str]) -> Iterator[str]:
    """A sentence for each class that a split has no row of, at most 5, and one for each split of few rows."""
    gone = [name for name in classes if not all(rows.get(name) for rows in splits.values())]
    for name in gone[:_MOST]:
        first, *others = (f"{rows.get(name, 0)}{{}} in {split}" for split, rows in splits.items())
        yield f"class {name!r} has {', '.join([first.format(' rows'), *(one.format('') for one in others)])}"
    if (more := len(gone) - _MOST) > 0:
        yield f"{more} more class{' has' if more == 1 else 'es have'} no row in some split"
    for split in SPLITS[1:]:
        rows = sum(splits.get(split, {}).values())
        if split in splits and rows < FEWEST:
            yield f"{split} has {rows} row{'' if rows == 1 else 's'}: of fewer than {FEWEST}, a metric is mostly chance"
