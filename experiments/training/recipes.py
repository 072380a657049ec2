"""The ways to train that are compared: each takes a detector through sets of labels that grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from al_rotate import Schedule

LOW_RATE = 0.1  # of a training that goes on without a restart, as a share of the first one's
GROWS_BY = 20  # images a round of the published recipe
SIZES = (20, 40, 100, 200)  # labelled images: rounds of the recipes that follow a schedule


@dataclass(frozen=True)
class Recipe:
    """How one detector is trained again and again.

    Attributes:
        schedule: of a training from the initial weights; None: 200 iterations, and 50 for each later round.
        warm: whether later rounds start from the weights of the round before, not from the initial ones.
        restarted: whether the rate of such a round rises to its highest again.
    """

    schedule: Schedule | None
    warm: bool = False
    restarted: bool = False

    def rounds(self, most: int) -> list[int]:
        """Return with how many labelled images each round trains, to the largest set."""
        sizes = range(GROWS_BY, most + 1, GROWS_BY) if self.schedule is None else SIZES
        return [n for n in sizes if n <= most and (self.warm or n > min(SIZES))]

    def schedule_of(self, is_first: bool) -> Schedule | None:
        """Return the schedule of a round; None: as the sandbox detector of the published tables was trained."""
        if self.schedule is None or is_first or not self.warm or self.restarted:
            return self.schedule
        return replace(self.schedule, rate=LOW_RATE * self.schedule.rate, warm_up=0.0)


COLD = Schedule(per_image=4, least=200, most=2000)
RECIPES: Mapping[str, Recipe] = {
    "published": Recipe(None, warm=True, restarted=True),
    "cold": Recipe(COLD),
    "warm": Recipe(COLD, warm=True),
    "cold-long": Recipe(replace(COLD, per_image=8)),
    "cold-balanced": Recipe(replace(COLD, balance=0.3)),
    "cold-ema": Recipe(replace(COLD, ema=0.1)),
    "warm-restarted": Recipe(COLD, warm=True, restarted=True),
    "cold-short": Recipe(replace(COLD, per_image=2, least=100)),
}
