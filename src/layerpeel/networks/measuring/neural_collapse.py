"""NeuralCollapse: the report of ``lp.measure`` as a torchmetrics metric, streamed batch by batch.

Its state is what one pass can know (:mod:`layerpeel.collapse.moments`): counts n_k, means mu_k and scatters s_k of the
classes, with ``within="matrix"`` also S_W (d x d), and the least margin; all in float64, about the first sample as
origin. States of ranks, of batches (``forward``) and of other metrics merge by the exact formula, in any order.

What needs the class means beforehand (``within_class_variation``, ``nc4_mismatch``) takes a second pass over the same
samples; until then it is nan and the report's notes say so. The definitions are those of :mod:`layerpeel.collapse`;
there is no formula in this file.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from layerpeel.collapse import ClassMoments, CollapseReport, Convention, MomentStream
from layerpeel.collapse import preset as named_convention
from layerpeel.collapse.arrays import full_precision, host, move, product_dtype
from layerpeel.collapse.assembly import assemble
from layerpeel.collapse.decision import Scorer, check_head, decide
from layerpeel.collapse.measure import checked_classes, walk_again
from layerpeel.collapse.moments import SecondMoment
from layerpeel.collapse.notes import Walks
from layerpeel.collapse.passes import FirstPass
from layerpeel.collapse.pool import ALONE
from layerpeel.collapse.samples import Block, array_samples, checked_choices, gather_samples
from layerpeel.networks.measuring.live_head import LiveHead
from layerpeel.networks.measuring.process_pool import ProcessPool

__all__ = ["NeuralCollapse"]


class NeuralCollapse(Metric):
    """Neural collapse of features that come in batches.

    ``metric.update(features, labels)`` for every batch, then ``metric.compute()``, a :class:`layerpeel.CollapseReport`.
    Any device, any float dtype, inside autocast; under torch.distributed the report is on the samples of all ranks.

    Args:
        num_classes: K.
        classifier: the last linear layer (read when it is needed, so always as it then is) or its weight (K, d).
        bias: b (K,), for a weight given as a tensor.
        num_features: d; by default that of the classifier, or of the first features.
        preset: the convention, by name or your own.
        ignore_index: label of the samples to leave out.
        allow_nonfinite: "drop" leaves out samples with nan or inf instead of raising.
        within: "trace" saves the d x d matrix, and leaves ``nc1`` to the second pass.

    Raises:
        ValueError: for what is none of this.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    counts: Tensor
    means: Tensor
    scatter: Tensor
    within: Tensor
    origin: Tensor
    num_samples: Tensor
    q_min: Tensor
    left_out: Tensor
    _computed: Any
    _forward_cache: Any

    def __init__(
        self,
        num_classes: Any,
        *,
        classifier: Any = None,
        bias: Any = None,
        num_features: int | None = None,
        preset: str | Convention = "ji2022",
        ignore_index: Any = None,
        allow_nonfinite: str = "raise",
        within: str = "matrix",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if within not in ("matrix", "trace"):
            raise ValueError(f"need within to be 'matrix' or 'trace', got {within!r}")
        checked_choices(allow_nonfinite, ignore_index)
        if num_features is not None and num_features < 1:
            raise ValueError(f"need num_features >= 1, got {num_features}")
        self.convention = named_convention(preset)
        self.num_classes = checked_classes(num_classes)
        self.ignore_index = ignore_index
        self.allow_nonfinite = allow_nonfinite
        self._kept: SecondMoment = "matrix" if within == "matrix" else "trace"
        self._head = LiveHead(classifier, bias)
        self._scorer: tuple[Any, Any, Scorer] | None = None
        head = self._head.read()
        d = num_features or (0 if head is None else head.weight.shape[1])
        check_head(head, self.num_classes, d)
        empty = ClassMoments.empty(self.num_classes, d, second=self._kept, like=torch.empty(0))
        for name, state in _states(empty).items():
            self.add_state(name, state, dist_reduce_fx=None)

    def update(self, features: Any, labels: Any) -> None:
        """Count a batch: features (B, d) with labels (B,), or (B, T, d) with (B, T). A refused batch counts nothing.

        Raises:
            ValueError: as :func:`layerpeel.measure` does.
        """
        features, labels = torch.as_tensor(features), torch.as_tensor(labels)
        if features.ndim > 2:
            features, labels = features.reshape(-1, features.shape[-1]), labels.reshape(-1)
        samples = array_samples(features, labels, **self._counting())
        self._make_room(samples.dim, samples.features)
        width = 1 if self._head.module is None else self.num_classes
        for block in list(samples.blocks(width, tall=2)):  # the list: all are sound before one is counted
            with full_precision(block.features):
                self._add(block)
        self.left_out += move(np.asarray([samples.dropped.total, samples.dropped.nonfinite]), self.left_out)

    def compute(self) -> CollapseReport:
        """What one pass over the samples tells."""
        return assemble(self._first(), self._walks(1), self._head.read(), self.convention, None)

    def second_pass(self, batches: Iterable[Any]) -> CollapseReport:
        """The whole report, by one more walk over the same samples, as (features, labels) batches.

        Raises:
            ValueError: as :func:`layerpeel.measure` does.
        """
        together = bool(self.distributed_available_fn()) and self._to_sync
        pool = ProcessPool(self.process_group) if together else ALONE
        head = self._head.read()
        samples = pool.checked(lambda: gather_samples(batches, None, **self._counting()))
        walk = walk_again(samples, head, pool)
        self.sync(dist_sync_fn=self.dist_sync_fn, should_sync=together)
        try:
            return assemble(self._first(), self._walks(2), head, self.convention, walk)
        finally:
            self.unsync(should_unsync=self._is_synced)

    def moments(self) -> ClassMoments:
        """The class moments of the samples of this process, about zero: what ``neco`` and ``nci`` ask for."""
        return MomentStream(self._moments()).release().shifted(self.origin)

    def merge_state(self, incoming_state: "Mapping[str, Any] | Metric") -> None:
        """Take in the samples of another such metric."""
        self._reduce_states(incoming_state.metric_state if isinstance(incoming_state, Metric) else incoming_state)

    def set_dtype(self, dst_type: Any) -> "NeuralCollapse":
        """Without effect: the states stay in float64."""
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Any:
        """Follow to other devices, never to other dtypes. The reports in the caches are on none."""
        caches: Any = (self._computed, self._forward_cache)
        self._computed = self._forward_cache = None
        moved = super()._apply(lambda state: _moved(fn, state), *args, **kwargs)
        self._computed, self._forward_cache = caches
        return moved

    def _wrap_compute(self, compute: Callable[[], CollapseReport]) -> Callable[[], CollapseReport]:
        """As torchmetrics wraps it, which would search a report for tensors and refuses its frozen fields."""
        inner = super()._wrap_compute(lambda: _Sealed(compute()))
        return wraps(compute)(lambda: inner().report)

    def _counting(self) -> dict[str, Any]:
        """Which samples count."""
        return {
            "num_classes": self.num_classes,
            "ignore_index": self.ignore_index,
            "mask": None,
            "on_nonfinite": self.allow_nonfinite,
        }

    def _add(self, block: Block) -> None:
        x = block.features
        if not self.num_samples:
            self.origin = x[0, :].to(self.origin.dtype, copy=True)  # the batch's memory may be used again
        stream = MomentStream(self._moments(), origin=self.origin, copy=False)
        stream.update(x, block.labels)
        self.num_samples += len(block.labels)
        scorer = self._scorer_for(x)
        if scorer is not None:
            margins = decide(scorer, x - self.origin, move(block.labels, x)).margins
            self.q_min = torch.minimum(self.q_min, margins.min())

    def _scorer_for(self, x: Any) -> Scorer | None:
        """The head, ready for rows about the origin; made anew when one of them has changed."""
        now = self._head.state(x)
        if now is None:
            return None
        origin, made, scorer = self._scorer or (None, None, None)
        if origin is not self.origin or made != now:
            head = self._head.read()
            assert head is not None
            scorer = Scorer.at(head, host(self.origin), x, product_dtype(x, head.entries, head.size()))
            self._scorer = self.origin, now, scorer
        return scorer

    def _make_room(self, dim: int, like: Any) -> None:
        """Take d and the device from the first features."""
        if not self.means.shape[1] and not self.num_samples:
            self._widen(dim)
        if self.means.device != like.device and not self.num_samples:
            self.to(like.device)
        if self.means.shape[1] != dim:
            raise ValueError(f"need features of dimension {self.means.shape[1]}, got {dim}")

    def _widen(self, dim: int) -> None:
        check_head(self._head.read(), self.num_classes, dim)
        empty = ClassMoments.empty(self.num_classes, dim, second=self._kept, like=self.means)
        for name, state in _states(empty).items():
            setattr(self, name, state)

    def _moments(self) -> ClassMoments:
        return ClassMoments(self.counts, self.means, self.scatter, getattr(self, "within", None))

    def _first(self) -> FirstPass:
        return FirstPass(MomentStream(self._moments()).release(), host(self.origin), float(self.q_min))

    def _walks(self, passes: int) -> Walks:
        dropped, nonfinite = self.left_out.tolist()
        return Walks(passes, dropped, nonfinite)

    def _reduce_states(self, incoming_state: Mapping[str, Any]) -> None:
        """Merge with other states; torchmetrics' hook for it, used by ``forward`` too."""
        merged = _merged([dict(incoming_state), self.metric_state])
        for name, state in merged.items():
            setattr(self, name, state)

    def _sync_dist(self, dist_sync_fn: Any = None, process_group: Any = None) -> None:
        """Merge over the ranks, those without samples (whose d may be unknown) included; torchmetrics' hook for it."""
        group = process_group or self.process_group
        dims = dist_sync_fn(torch.tensor([self.means.shape[1]], device=self.means.device), group=group)
        known = sorted({int(d) for d in dims} - {0})
        if len(known) > 1:
            raise ValueError(f"need features of one dimension on all ranks, got {', '.join(map(str, known))}")
        if known and not self.means.shape[1]:
            self._widen(known[0])
        gathered = {name: dist_sync_fn(state, group=group) for name, state in self.metric_state.items()}
        ranks = [dict(zip(gathered, states, strict=True)) for states in zip(*gathered.values(), strict=True)]
        for name, state in _merged(ranks).items():
            setattr(self, name, state)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_scorer": None}


class _Sealed:
    """A report that no framework looks into."""

    def __init__(self, report: CollapseReport) -> None:
        self.report = report


def _moved(fn: Callable[[Tensor], Tensor], state: Tensor) -> Tensor:
    """``fn(state)`` in the dtype of ``state``."""
    moved = fn(state)
    return state.to(moved.device) if moved.dtype != state.dtype else moved


def _states(moments: ClassMoments) -> dict[str, Tensor]:
    """The state of a metric that has seen nothing."""
    like = moments.means
    states = {
        "counts": moments.counts,
        "means": moments.means,
        "scatter": moments.scatter,
        "within": moments.within,
        "origin": like.new_zeros(like.shape[1]),
        "num_samples": moments.counts.new_zeros(()),
        "q_min": like.new_full((), float("inf")),
        "left_out": moments.counts.new_zeros(2),
    }
    return {name: state for name, state in states.items() if state is not None}


def _merged(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The states of all samples, from those of the parts."""
    some = [part for part in parts if part["num_samples"]] or parts[:1]
    total = {name: state.clone() for name, state in some[0].items()}
    moments = ClassMoments(total["counts"], total["means"], total["scatter"], total.get("within"))
    for part in some[1:]:
        other = ClassMoments(part["counts"], part["means"], part["scatter"], part.get("within"))
        moments = moments.merge(other.shifted(part["origin"] - total["origin"]))
    states = {"counts": moments.counts, "means": moments.means, "scatter": moments.scatter, "within": moments.within}
    states["origin"] = total["origin"]
    states["num_samples"] = sum(part["num_samples"] for part in some)
    states["q_min"] = torch.stack([part["q_min"] for part in some]).min()
    states["left_out"] = sum(part["left_out"] for part in parts)
    return {name: state for name, state in states.items() if state is not None}
