"""The one source of randomness of a pass: (seed, epoch), and nothing before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass
class EpochClock:
    """Which epoch it is; whoever trains sets `epoch` as each one begins.

    All that is random in a pass is drawn from `rng`, so that a training that was killed
    goes on with the very batches that it would have seen.

    Attributes:
        seed: Of the training.
        epoch: From 0 on.
    """

    seed: int = 0
    epoch: int = 0

    def rng(self, stream: int) -> np.random.Generator:
        """Returns this epoch's generator for one purpose, each with its own number."""
        return np.random.default_rng([self.seed, self.epoch, stream])


def each_pass(seed: int, clock: EpochClock | None) -> Callable[[], EpochClock]:
    """Returns what is called as a pass begins and tells its time.

    Args:
        seed: Where there is no clock, whose own seed counts otherwise.
        clock: Whose epoch a pass belongs to; without one the passes are counted.
    """
    counted = EpochClock(seed, epoch=-1)

    def begin() -> EpochClock:
        if clock is not None:
            # A copy: the clock may go on while the pass is still being pulled.
            return EpochClock(clock.seed, clock.epoch)
        counted.epoch += 1
        return EpochClock(seed, counted.epoch)

    return begin
