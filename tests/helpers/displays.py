"""Displays that keep what they are told."""

from __future__ import annotations

from optforge.jobs import Silent


class Heard(Silent):
    """Keeps the sentences."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)
