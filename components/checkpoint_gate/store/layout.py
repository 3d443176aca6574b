"""Names and versions on the disk. Chosen once."""

from __future__ import annotations

FORMAT = 1
WRITER = "checkpoint-gate 0.1.0"
STORE_FILE = "store.json"
RUN_FILE = "run.json"
POINTER_FILE = "run_pointer.json"
PROBE_FILE = "exclusive.probe"
UNFINISHED_FILE = "unfinished.json"
LEASE_FILE = "lease.json"  # claims are named lease.<token>.json
