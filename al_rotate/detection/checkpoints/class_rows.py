"""Fit the weights of a detector to other classes: every row of its classification layers goes where its class is now.

Which layers have rows for classes is found by building the config's model for one class more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from .weights import Checkpoint

Build = Callable[[int], nn.Module]  # the config's model for a number of classes


class OtherClasses(UserWarning):
    """A checkpoint is of other classes than the model; the message says which of its weights go where."""


@dataclass(frozen=True)
class Rows:
    """How the first axis of a weight is made of classes.

    Attributes:
        per_class: rows of each class.
        backgrounds: classes more than the detector's, which come last.
        by_anchor: rows go anchor by anchor, each with all classes (convolutions of dense heads), or else class by
            class (the linear layers of two-stage heads).
    """

    per_class: int
    backgrounds: int
    by_anchor: bool

    def count(self, n_rows: int) -> int | None:
        """Return the number of classes behind a number of rows; None where there is none."""
        n_classes = n_rows // self.per_class - self.backgrounds
        return n_classes if n_classes > 0 and n_rows % self.per_class == 0 else None

    def table(self, n_classes: int) -> Tensor:
        """Return the rows of every class, backgrounds last: (classes + backgrounds, per_class)."""
        n = n_classes + self.backgrounds
        numbers = torch.arange(n * self.per_class)
        return numbers.view(self.per_class, n).T if self.by_anchor else numbers.view(n, self.per_class)


class ClassLayers:
    """The weights of a model that depend on its number of classes.

    Args:
        build: the model; called twice, with the random numbers of the caller untouched.
        n_classes: any number that it can be built for.

    Attributes:
        rows: name of a weight -> how its rows are made of classes.
    """

    def __init__(self, build: Build, n_classes: int) -> None:
        with torch.random.fork_rng(devices=[]):
            fewer, more = (build(n).state_dict() for n in (n_classes, n_classes + 1))
        self.rows: dict[str, Rows] = {}
        for name, weight in fewer.items():
            per_class = len(more[name]) - len(weight) if weight.ndim and name in more else 0
            if per_class > 0 and weight.shape[1:] == more[name].shape[1:]:
                backgrounds, rest = divmod(len(weight) - per_class * n_classes, per_class)
                layer = fewer.get(f"{name.rpartition('.')[0]}.weight", weight)
                if not rest and backgrounds >= 0:
                    self.rows[name] = Rows(per_class, backgrounds, by_anchor=layer.ndim > 2)

    def count(self, checkpoint: Checkpoint) -> int | None:
        """Return for how many classes a checkpoint's weights are; None where its layers are not these."""
        state = checkpoint.state
        counts = {rows.count(len(state[name])) for name, rows in self.rows.items() if name in state}
        return counts.pop() if len(counts) == 1 else None


@dataclass(frozen=True)
class Adapted:
    """A checkpoint for a model of other classes.

    Attributes:
        checkpoint: its weights, as the model has them.
        sources: class of the model -> the checkpoint's classes whose rows it takes; none where it starts anew.
        said: what was done, in a sentence; empty where every class kept its name.
    """

    checkpoint: Checkpoint
    sources: dict[str, tuple[str, ...]]
    said: str

    @property
    def untrained(self) -> bool:
        """Whether no class has weights of the checkpoint's."""
        return not any(self.sources.values())


def fits(checkpoint: Checkpoint, model: nn.Module, classes: Sequence[str]) -> bool:
    """Whether a checkpoint is of this model and these classes, in this order, as far as it names them."""
    shapes = {name: weight.shape for name, weight in checkpoint.state.items()}
    same = all(shapes.get(name) == weight.shape for name, weight in model.state_dict().items())
    return same and checkpoint.classes in (None, tuple(classes))


def adapt(
    checkpoint: Checkpoint,
    model: nn.Module,
    classes: tuple[str, ...],
    build: Build,
    class_map: Mapping[str, str] | None = None,
) -> Adapted:
    """Fit a checkpoint to the classes of a model.

    A class takes the rows of the checkpoint's class of that name, or of the one that `class_map` gives it (the mean of
    several). Where the number of classes is the same, and none of the names has moved, all others keep their place
    under their new names. The rest starts as the model is now. The weights are believed more than the names beside
    them: names of another number of classes are left aside.

    Args:
        checkpoint: of the same config, but for its classes.
        model: initialised.
        classes: of the model.
        build: builds that model for another number of classes.
        class_map: class of the checkpoint -> class of the model.

    Raises:
        ValueError: for a `class_map` of classes that the checkpoint or the model does not have.
    """
    layers = ClassLayers(build, len(classes))
    count, names, path = layers.count(checkpoint), checkpoint.classes, checkpoint.path
    doubt = "names no classes"
    if names and count not in (None, len(names)):
        doubt = f"names {len(names)} classes, {_listed(names)}, but its weights are for {count}"
        names = None
    _check_map(class_map or {}, names, classes, checkpoint)
    sources, by_place = _sources(names, count, classes, class_map or {})
    old: Sequence[str] | range = names or range(count or 0)
    state, expected = dict(checkpoint.state), model.state_dict()
    for name, rows in layers.rows.items():
        weight = state.get(name, expected[name])
        of_classes = weight.shape[1:] == expected[name].shape[1:] and rows.count(len(weight)) == len(old)
        state[name] = _moved(weight, expected[name], rows, sources, len(old)) if of_classes else expected[name]
    taken = {name: tuple(str(old[number]) for number in numbers) for name, numbers in sources.items()}
    if names:
        changes = _describe(taken, names)
        said = f"{path} is of other classes: {changes}" if changes else ""
    elif by_place:
        said = f"{path} {doubt}; they are taken for {_listed(classes)}, in this order" if checkpoint.classes else ""
    else:
        said = f"{path} {doubt}: all classes start at random"
    return Adapted(replace(checkpoint, state=state, classes=classes), taken, said)


def _sources(
    names: tuple[str, ...] | None, count: int | None, classes: tuple[str, ...], class_map: Mapping[str, str]
) -> tuple[dict[str, list[int]], bool]:
    """Return the old numbers of every class, and whether those without a name kept their place."""
    sources: dict[str, list[int]] = {name: [] for name in classes}
    for number, name in enumerate(names or ()):
        if (new := class_map.get(name, name)) in sources:
            sources[new].append(number)
    moved = any(taken and taken != [place] for place, taken in enumerate(sources.values()))
    by_place = count == len(classes) and not moved and not class_map
    if by_place:
        sources = {name: [place] for place, name in enumerate(classes)}
    return sources, by_place


def _moved(old: Tensor, new: Tensor, rows: Rows, sources: Mapping[str, Sequence[int]], n_old: int) -> Tensor:
    """Return the rows of `new` with those of `old` in the places of their classes."""
    before, after = rows.table(n_old), rows.table(len(sources))
    moved = new.detach().to(old.device, old.dtype, copy=True)
    for place, taken in enumerate(sources.values()):
        if taken:
            moved[after[place]] = old[before[list(taken)]].mean(dim=0)
    if rows.backgrounds:
        moved[after[-rows.backgrounds :].flatten()] = old[before[-rows.backgrounds :].flatten()]
    return moved


def _check_map(
    class_map: Mapping[str, str], names: Sequence[str] | None, classes: Sequence[str], checkpoint: Checkpoint
) -> None:
    if class_map and not names:
        raise ValueError(f"expected a checkpoint that names its classes with a class_map, {checkpoint.path} does not")
    for old, new in class_map.items():
        if old not in (names or ()):
            raise ValueError(f"expected classes of {checkpoint.path} in class_map, {_listed(names or ())}, got {old!r}")
        if new not in classes:
            raise ValueError(f"expected a class_map to the detector's classes, {_listed(classes)}, got {new!r}")


def _describe(named: Mapping[str, tuple[str, ...]], old: Sequence[str]) -> str:
    """Say which classes keep their weights, which take those of others, and which start anew; empty if all keep."""
    kept = [name for name, taken in named.items() if taken == (name,)]
    renamed = {name: taken for name, taken in named.items() if taken and name not in kept}
    new = [name for name, taken in named.items() if not taken]
    left = [name for name in old if not any(name in taken for taken in named.values())]
    parts = [f"{_listed(kept)} {'keep their' if len(kept) > 1 else 'keeps its'} weights"] if kept else []
    parts += [f"{name} takes those of {' and '.join(taken)}" for name, taken in renamed.items()]
    if new:
        parts.append(f"{_listed(new)} {'start' if len(new) > 1 else 'starts'} at random")
    if new and left:
        hint = f"class_map={{{left[0]!r}: {new[0]!r}}}"
        parts.append(f"to start from one of the checkpoint's other classes, {_listed(left)}, give e.g. {hint}")
    return "; ".join(parts) if renamed or new else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:20], *([f"and {len(names) - 20} others"] if len(names) > 20 else [])])
