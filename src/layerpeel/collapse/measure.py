"""From features and labels to a report: two walks over the samples, then formulas on K x d matrices."""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any, SupportsIndex

import numpy as np

from layerpeel.collapse.assembly import assemble
from layerpeel.collapse.conventions import Convention
from layerpeel.collapse.conventions import preset as named_convention
from layerpeel.collapse.decision import Head, check_head, read_head
from layerpeel.collapse.moments import ClassMoments
from layerpeel.collapse.notes import Walks
from layerpeel.collapse.passes import FirstPass, MeanSystem, SecondPass, first_pass, second_pass
from layerpeel.collapse.pool import ALONE, Pool
from layerpeel.collapse.report import CollapseReport
from layerpeel.collapse.samples import Dropped, Samples, gather_samples

__all__ = ["checked_classes", "measure", "walk_again"]


def measure(
    features: Any,
    labels: Any = None,
    *,
    classifier: Any = None,
    bias: Any = None,
    num_classes: SupportsIndex | None = None,
    ignore_index: int | None = None,
    mask: Any = None,
    preset: str | Convention = "ji2022",
    allow_nonfinite: str = "raise",
    pool: Pool = ALONE,
) -> CollapseReport:
    """Measure neural collapse, NC1 to NC4, in every definition the literature uses.

    Args:
        features: (N, d), one sample a row, of numpy, torch (any device, any float dtype) or jax. Or, without
            ``labels``, an iterable of (features, labels) batches: a list or a DataLoader is walked twice; a
            one-shot iterator once, and what needs the class means beforehand is then nan.
        labels: (N,) or (N, 1), integers 0 <= y < K.
        classifier: W, (K, d); the fields on it are nan without.
        bias: b, (K,).
        num_classes: K; by default the rows of the classifier, or the largest label + 1.
        ignore_index: label of the samples to leave out.
        mask: (N,), True for the samples to count.
        preset: the convention, by name (see ``layerpeel conventions``) or your own.
        allow_nonfinite: "drop" leaves out samples with nan or inf instead of raising.
        pool: how the parts of several processes, each with its share of the samples, become one report
            (:class:`layerpeel.torch.ProcessPool`); K must then be known.

    Raises:
        ValueError: for anything else, with one sentence that says what was needed and what came.
    """
    convention = named_convention(preset)

    def given() -> tuple[Head | None, int | None, Samples]:
        head = read_head(classifier, bias)
        K = _given_classes(num_classes, head)
        if K is None and pool.size > 1:
            raise ValueError("need num_classes or a classifier to pool processes, got neither")
        samples = gather_samples(
            features,
            labels,
            num_classes=K,
            ignore_index=ignore_index,
            mask=mask,
            on_nonfinite=allow_nonfinite,
        )
        if samples.dim is not None:
            check_head(head, K, samples.dim)
        return head, K, samples

    head, K, samples = pool.checked(given)
    first, walks = _walk(samples, head, pool)
    if first is None:
        first = _nothing(samples, K)
    return assemble(first, walks, head, convention, walk_again(samples, head, pool) if samples.repeatable else None)


def walk_again(samples: Samples, head: Head | None, pool: Pool = ALONE) -> Callable[[MeanSystem], SecondPass]:
    """The second walk over ``samples``, for when the class means are known."""

    def walk(system: MeanSystem) -> SecondPass:
        parts = [part for part in pool(lambda: second_pass(samples, system, head)) if part is not None]
        if not parts:
            raise ValueError("need the same samples in both passes, got none in the second")
        return reduce(SecondPass.__add__, parts)

    return walk


def _walk(samples: Samples, head: Head | None, pool: Pool) -> tuple[FirstPass | None, Walks]:
    """The first walk, over the samples of all processes."""

    def part() -> tuple[FirstPass | None, Dropped]:
        first = first_pass(samples, head)
        return first if first is None or pool.size == 1 else first.on_host(), samples.dropped

    parts = pool(part)
    firsts = [first for first, _ in parts if first is not None]
    walks = Walks(
        passes=2 if samples.repeatable else 1,
        dropped=sum(dropped.total for _, dropped in parts),
        nonfinite=sum(dropped.nonfinite for _, dropped in parts),
    )
    return reduce(FirstPass.__add__, firsts) if firsts else None, walks


def _nothing(samples: Samples, K: int | None) -> FirstPass:
    """The first pass over no sample at all, which leaves a report with nothing defined."""
    dim = samples.dim or 0
    return FirstPass(ClassMoments.empty(K or 0, dim), np.zeros(dim), float("inf"))


def _given_classes(num_classes: SupportsIndex | None, head: Head | None) -> int | None:
    if num_classes is None:
        return None if head is None else checked_classes(head.num_classes)
    return checked_classes(num_classes)


def checked_classes(num_classes: Any) -> int:
    """K, if it is one.

    Raises:
        ValueError: for less than two classes, or no integer.
    """
    try:
        K = operator.index(num_classes)
    except TypeError:
        raise ValueError(f"need num_classes to be an integer, got {num_classes!r}") from None
    if K < 2:
        raise ValueError(f"need at least two classes, got K = {K}")
    return K
