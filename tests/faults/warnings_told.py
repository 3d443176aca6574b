"""What a logger is given, as a list."""

from __future__ import annotations

import logging


class warnings_of:
    """The warnings that a logger is given within."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def __enter__(self) -> list[str]:
        self._told: list[str] = []
        self._before = self._logger.propagate
        self._handler = _ToList(self._told)
        self._logger.addHandler(self._handler)
        self._logger.propagate = False
        return self._told

    def __exit__(self, *error: object) -> None:
        self._logger.removeHandler(self._handler)
        self._logger.propagate = self._before


class _ToList(logging.Handler):
    def __init__(self, told: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        self._told.append(record.getMessage())
