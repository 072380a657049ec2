"""Losses that wait on the device until somebody reads them: reading one ends the device's lead over the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from numpy.typing import NDArray
from torch import Tensor

_MOST_WAITING = 100


class WaitingHistory(HistoryBuffer):
    """MMEngine's history of one number, to which tensors are added without reading them.

    Copies and pickles of it, as in checkpoints, are plain ``HistoryBuffer`` objects.
    """

    _waiting: list[Tensor]
    _read: tuple[NDArray, NDArray]

    @classmethod
    def of(cls, history: HistoryBuffer | None) -> WaitingHistory:
        """Go on with a history."""
        if isinstance(history, cls):
            return history
        return cls() if history is None else cls(*history.data, history.max_length)

    def add(self, value: Tensor) -> None:
        """Add a number, that of a tensor with one element."""
        self._waiting.append(value.detach())
        if len(self._waiting) == _MOST_WAITING:
            self._settle()

    def __reduce__(self) -> tuple[Any, ...]:
        return HistoryBuffer, (*self.data, self.max_length)

    def __init__(self, *arguments: Any) -> None:
        self._waiting = []
        super().__init__(*arguments)

    def _settle(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            values = torch.stack([value.reshape(()) for value in waiting]).double().cpu().numpy()
            history, counts = self._read
            self._read = (
                np.append(history, values)[-self.max_length :],
                np.append(counts, np.ones(len(values)))[-self.max_length :],
            )

    # The base class keeps its numbers in these two.

    @property
    def _log_history(self) -> NDArray:
        self._settle()
        return self._read[0]

    @_log_history.setter
    def _log_history(self, values: NDArray) -> None:
        self._read = values, self._read[1] if hasattr(self, "_read") else values

    @property
    def _count_history(self) -> NDArray:
        self._settle()
        return self._read[1]

    @_count_history.setter
    def _count_history(self, values: NDArray) -> None:
        self._read = self._read[0], values
