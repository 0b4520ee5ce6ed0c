"""What the model's tests share: one thread for torch."""

from __future__ import annotations

from tests.one_thread import one_thread

__all__ = ["one_thread"]
