"""Problem: what is minimised, a loss over free classifiers and features, and what is added to it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float, Int

from layerpeel.problem import objective as pure
from layerpeel.problem.boundary import evaluate, onto_set
from layerpeel.problem.constraints import Constraint
from layerpeel.problem.losses import CrossEntropy, Loss
from layerpeel.problem.optima import Optimum, optimum
from layerpeel.problem.options import need_integer, need_not_negative, need_switch
from layerpeel.problem.regularisers import Regulariser
from layerpeel.problem.state import State

__all__ = ["Problem", "need_problem"]

REDUCTIONS = ("mean", "sum")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["regulariser", "constraint"],
    meta_fields=["K", "n", "d", "loss", "reduction", "bias", "depth"],
)
@dataclass(frozen=True)
class Problem:
    """min over W [K, d], H [d, N] (and b [K]) of reduce_i loss((W H + b 1')_i, y_i) + R(W, H, b).

    With ``depth`` > 2 there are depth - 2 linear layers M [d, d] between them: W M_1 .. M_L H.
    The first n_1 columns of H belong to class 0, the next n_2 to class 1, and so on. A pytree: ``regulariser`` and
    ``constraint`` are its data, the rest is static.

    Attributes:
        K: number of classes, >= 2.
        n: samples a class, an int or one int a class.
        d: dimension of the features.
        loss: a :class:`Loss`.
        regulariser: a :class:`Regulariser` added to the loss, or None.
        constraint: a :class:`Constraint` that descent projects onto, or None.
        reduction: "mean" over the N samples (the paper's experiment) or "sum" (its theory).
        bias: whether the model has a bias b.
        depth: number of factors of the logits, 2 for W and H alone.

    Raises:
        ValueError: for K < 2, d < 1, depth < 2, a class size < 1, class sizes that are not K, an unknown reduction,
            a bias that is no bool.
    """

    K: int
    n: Any
    d: int
    loss: Loss = field(default_factory=CrossEntropy)
    regulariser: Regulariser | None = None
    constraint: Constraint | None = None
    reduction: Literal["mean", "sum"] = "mean"
    bias: bool = False
    depth: int = 2

    def __post_init__(self) -> None:
        need_integer("K", self.K, least=2)
        need_integer("d", self.d, least=1)
        need_integer("depth", self.depth, least=2)
        object.__setattr__(self, "bias", need_switch("bias", self.bias))
        object.__setattr__(self, "n", _class_sizes(self.K, self.n))
        if self.reduction not in REDUCTIONS:
            raise ValueError(f"need reduction to be one of {', '.join(REDUCTIONS)}, got {self.reduction!r}")
        if not isinstance(self.loss, Loss):
            raise ValueError(f"need loss to be an instance of layerpeel.Loss, got {self.loss!r}")
        for name, kind in (("regulariser", Regulariser), ("constraint", Constraint)):
            part = getattr(self, name)
            if not (part is None or isinstance(part, kind)):
                raise ValueError(f"need {name} to be a layerpeel.{kind.__name__} or None, got {part!r}")
        if self.regulariser is not None:
            self.regulariser.check()
        if self.constraint is not None:
            self.constraint.check(self.K, self.d, self.N)

    @property
    def N(self) -> int:
        """Number of samples, sum of the class sizes."""
        return sum(self.n)

    @property
    def plain(self) -> bool:
        """Whether nothing is added to the loss of Z = W H: no bias, regulariser, constraint or hidden layer."""
        return not self.bias and self.regulariser is None and self.constraint is None and self.depth == 2

    @property
    def vanishes(self) -> bool:
        """Whether the objective can go to 0, with its logarithm known: an exponential-tailed loss, nothing added."""
        return self.regulariser is None and self.constraint is None and self.loss.vanishes

    @property
    def shapes(self) -> State:
        """The shapes of W, H, b and hidden, None for what the model does not have."""
        L = self.depth - 2
        return State(
            (self.K, self.d), (self.d, self.N), (self.K,) if self.bias else None, (L, self.d, self.d) if L else None
        )

    @property
    def balanced(self) -> bool:
        """Whether all classes have the same size."""
        return len(set(self.n)) == 1

    @cached_property
    def labels(self) -> Int[np.ndarray, "N"]:
        """y_i of the columns of H: class by class."""
        return np.repeat(np.arange(self.K), self.n)

    @cached_property
    def onehot(self) -> Float[np.ndarray, "K N"]:
        """Y, the labels as one-hot columns."""
        return (np.arange(self.K)[:, None] == self.labels).astype(np.float64)

    def init(self, seed: Any = 0, *, scale: Any = 0.1) -> State:
        """W, H, then hidden, with entries N(0, scale^2) from ``numpy.random.default_rng(seed)``, row by row; b = 0.

        Projected onto the constraint, where there is one. Several seeds give a leading seed axis; seed by seed the
        same numbers as one at a time.
        """
        scale = need_not_negative("scale", scale)
        if not isinstance(seed, Iterable) or isinstance(seed, str | bytes) or getattr(seed, "ndim", 1) == 0:
            return _start(self, seed, scale)
        states = [_start(self, one, scale) for one in seed]
        if not states:
            raise ValueError("need at least one seed, got none")
        return jax.tree.map(lambda *leaves: np.stack(leaves), *states)

    def objective(self, state: State) -> Any:
        """The objective: a float, or an array with one entry a seed."""
        return evaluate(pure.objective, self, state)

    def gradient(self, state: State) -> State:
        """The gradient of the objective, a State of numpy arrays."""
        return evaluate(pure.gradient, self, state)

    def log_objective(self, state: State) -> Any:
        """log of the objective, exact where the objective itself underflows float64."""
        return evaluate(pure.log_objective, self, state)

    def log_gradient(self, state: State) -> State:
        """grad log L = (grad L) / L, exact where both underflow float64."""
        return evaluate(pure.log_gradient, self, state)

    def optimum(self, of: Literal["loss", "margin", "separation"] = "loss", *, rho2: float | None = None) -> Optimum:
        """The global optimum, where one is known or can be computed: see :func:`layerpeel.problem.optima.optimum`."""
        return optimum(self, of, rho2=rho2)


def need_problem(problem: Any) -> None:
    """Raise for what is no :class:`Problem`."""
    if not isinstance(problem, Problem):
        raise ValueError(f"need a layerpeel.Problem, got {type(problem).__name__}")


def _start(problem: Problem, seed: Any, scale: float) -> State:
    """The start of one seed."""
    rng = np.random.default_rng(need_integer("seed", seed, least=0))
    shapes = problem.shapes
    W, H = (rng.normal(0.0, scale, shape) for shape in (shapes.W, shapes.H))
    hidden = None if shapes.hidden is None else rng.normal(0.0, scale, shapes.hidden)
    state = State(W, H, np.zeros(problem.K) if problem.bias else None, hidden)
    return state if problem.constraint is None else evaluate(onto_set, problem, state)


def _class_sizes(K: int, n: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(n, str | float) or not isinstance(n, int | np.integer | Iterable):
        raise ValueError(f"need n to be an int or K ints, got {n!r}")
    sizes = tuple(n) if isinstance(n, Iterable) else (n,) * K
    if len(sizes) != K:
        raise ValueError(f"need K = {K} class sizes, got {len(sizes)}")
    return tuple(need_integer("n", size, least=1) for size in sizes)
