"""How long a training goes on, how its learning rate goes, and how often it shows each image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

REPLACED = ("train_cfg", "param_scheduler")  # parts of a config that a schedule takes the place of
LOWEST_RATE = 0.05  # at the end, as a share of the highest


@dataclass(frozen=True)
class Schedule:
    """A training as long as its labels are many, in place of a config's own length and learning rates.

    The learning rate rises in a line during the warm-up, and falls in a cosine to a twentieth of the highest rate at
    the end. Such a training counts in iterations: hooks of a config that wait for an epoch other than the first never
    act.

    Args:
        per_image: iterations for each labelled image, in the config's batch size.
        least, most: limits of the iterations.
        rate: the highest learning rate, as a share of the config's.
        warm_up: the share of the iterations during which the rate rises.
        balance: images of a class that is on fewer than this share of the images are shown more often: repeat factor
            sampling, Gupta et al. (LVIS), CVPR 2019, by MMEngine's ``ClassBalancedDataset``. 0: all alike.
        ema: the share of the iterations over which the weights are averaged, exponentially; the averages are kept and
            evaluated. 0: what the config says.

    Raises:
        ValueError: for values out of their ranges.
    """

    per_image: float = 4.0
    least: int = 200
    most: int = 4000
    rate: float = 1.0
    warm_up: float = 0.1
    balance: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        if not (self.per_image > 0 and math.isfinite(self.per_image)):
            raise ValueError(f"expected a schedule with per_image above 0, got {self.per_image}")
        if not 1 <= self.least <= self.most:
            raise ValueError(f"expected a schedule with 1 <= least <= most, got {self.least} and {self.most}")
        if not 0 < self.rate <= 10:
            raise ValueError(f"expected a schedule with a rate above 0 and up to 10, got {self.rate}")
        for name in ("warm_up", "balance", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"expected a schedule with {name} from 0 to below 1, got {getattr(self, name)}")

    def iterations(self, n_images: int) -> int:
        """Return the iterations of a training on this many labelled images.

        >>> [Schedule(per_image=4, least=200, most=1000).iterations(n) for n in (10, 100, 1000)]
        [200, 400, 1000]
        """
        return min(max(round(self.per_image * n_images), self.least), self.most)

    def warm_up_iterations(self, iterations: int) -> int:
        """Return during how many of them the rate rises."""
        return round(self.warm_up * iterations)

    def rates(self, iterations: int) -> NDArray[np.float64]:
        """Return the learning rate of each iteration as a share of the config's, (iterations,)."""
        steps, rising = np.arange(iterations), self.warm_up_iterations(iterations)
        fallen = (1 + np.cos(np.pi * (steps - rising) / max(1, iterations - rising))) / 2
        falling = LOWEST_RATE + (1 - LOWEST_RATE) * fallen
        return self.rate * np.where(steps < rising, (steps + 1) / max(1, rising), falling)


def says_how_long(options: Mapping[str, Any] | None) -> bool:
    """Whether ``cfg_options`` say how long to train, or at what rates."""
    return any(key.startswith(REPLACED) for key in options or ())


def by_default(config: Any, options: Mapping[str, Any] | None = None) -> Schedule | None:
    """Return the schedule of a training of which nobody said how long it shall be; None: that is the config's.

    A config that counts in epochs was made for thousands of images. On a few its length and its rates come to little,
    see docs/evidence.md. One that counts in iterations says itself how long to train.

    Args:
        config: an ``mmengine.Config``.
        options: ``cfg_options`` of the config or of the training, which may say how long.
    """
    counts_epochs = "max_epochs" in (getattr(config, "train_cfg", None) or ())
    return Schedule() if counts_epochs and not says_how_long(options) else None
