"""Which closed form answers which problem; where there is none, the convex program that does."""

from typing import TYPE_CHECKING, Literal

from layerpeel.problem.constraints import NonNegative, NormBalls, OutputBall, Spheres
from layerpeel.problem.losses import CrossEntropy, Focal, Hinge, SquaredError
from layerpeel.problem.optima import bounded, deep, symmetric, unconstrained
from layerpeel.problem.optima.convex_program import computed_optimum
from layerpeel.problem.optima.optimum import Optimum
from layerpeel.problem.options import need_positive
from layerpeel.problem.regularisers import Ridge

if TYPE_CHECKING:
    from layerpeel.problem.problem import Problem

__all__ = ["optimum"]

OPTIMA = ("loss", "margin", "separation")
OURS = (CrossEntropy, Focal, SquaredError, Hinge)
BOUNDED = {
    NormBalls: bounded.balls_optimum,
    Spheres: bounded.spheres_optimum,
    OutputBall: bounded.output_ball_optimum,
}


def optimum(
    problem: "Problem", of: Literal["loss", "margin", "separation"] = "loss", *, rho2: float | None = None
) -> Optimum:
    """The global optimum of ``problem``: in closed form, or computed with a proof of how good it is.

    A problem with a regulariser or a constraint has a least objective. The unconstrained model has none, only
    directions; for it there are three questions:

    - ``"loss"`` (Theorem 3.3): the least objective on the sphere |W|^2 + |H|^2 = rho2; balanced cross-entropy.
    - ``"margin"`` (Lemma 3.1): the greatest q_min on that sphere, rho2 / (2 |P Y|_*); any class sizes.
    - ``"separation"`` (Theorem 3.2): the least (|W|^2 + |H|^2)/2 with every margin >= 1, |P Y|_*; any class sizes.

    Any class sizes, biases and convex losses without a closed form: the convex program, polished, with a
    ``lower_bound`` proved by duality.

    Raises:
        ValueError: where no optimum is known, d is too small for it, or rho2 is missing, not positive or not wanted.
        MissingRing: where it has to be computed, without cvxpy.
    """
    if of not in OPTIMA:
        raise ValueError(f"need of to be one of {', '.join(OPTIMA)}, got {of!r}")
    if problem.regulariser is None and problem.constraint is None and not isinstance(problem.loss, SquaredError):
        return _of_unconstrained(problem, of, rho2)
    if of != "loss" or rho2 is not None:
        raise ValueError("need optimum() without a question or rho2 for a problem with a least objective, got one")
    _need_weights(problem)
    if type(problem.loss) not in OURS:  # nothing is known of subclasses
        raise ValueError(f"need a loss of {', '.join(loss.__name__ for loss in OURS)} itself, got {problem.loss!r}")
    found = _of_deep(problem) or _of_regularised(problem) or _of_bounded(problem) or computed_optimum(problem)
    if found is None:
        raise ValueError(f"need a model whose optimum is known (`layerpeel models` lists them), got {problem!r}")
    return found


def _need_weights(problem: "Problem") -> None:
    """Raise where a ridge leaves a factor free: only the squared error, with both free, has a least objective then."""
    ridge = problem.regulariser
    if problem.constraint is not None or not isinstance(ridge, Ridge):
        return
    names = ("lam_W", "lam_H", "lam_hidden")[: 2 + (problem.depth > 2)]
    free = [name for name in names if not float(getattr(ridge, name)) > 0]
    held = isinstance(problem.loss, SquaredError) and free == ["lam_W", "lam_H"] and problem.depth == 2
    if free and not held:
        raise ValueError(f"need {' and '.join(names)} > 0 for a least objective, got {' and '.join(free)} = 0")


def _of_unconstrained(problem: "Problem", of: str, rho2: float | None) -> Optimum:
    if not problem.plain:
        raise ValueError(
            "need a problem without regulariser, constraint and bias for a closed form, and two factors, got another"
        )
    if problem.d < problem.K - 1:
        raise ValueError(
            f"need d >= K-1 = {problem.K - 1} for the closed form (K centred vectors span K-1 dimensions), "
            f"got d={problem.d}"
        )
    if of == "separation":
        if rho2 is not None:
            raise ValueError(f"need no rho2 for the separation problem, whose norm is its value, got rho2={rho2}")
        return unconstrained.separation(problem)
    if rho2 is None:
        raise ValueError(
            "need rho2: without a norm the model has no minimum, only directions; "
            "optimum(rho2=...) answers on a sphere, optimum('separation') for the direction, got none"
        )
    on_sphere = unconstrained.margin_on_sphere if of == "margin" else unconstrained.loss_on_sphere
    return on_sphere(problem, need_positive("rho2", rho2))


def _of_deep(problem: "Problem") -> Optimum | None:
    if problem.depth == 2:
        return None
    simple = problem.balanced and problem.constraint is None and problem.loss == CrossEntropy()
    return deep.deep_block_optimum(problem) if simple and isinstance(problem.regulariser, Ridge) else None


def _of_regularised(problem: "Problem") -> Optimum | None:
    if problem.depth > 2 or not (problem.regulariser is None or isinstance(problem.regulariser, Ridge)):
        return None
    if isinstance(problem.constraint, NonNegative):
        plain = problem.balanced and problem.loss == CrossEntropy() and problem.regulariser is not None
        return symmetric.nonnegative_optimum(problem) if plain else None
    if problem.constraint is not None:
        return None
    free = problem.regulariser is None  # with a bias it takes the mean of Y, whatever the sizes
    if isinstance(problem.loss, SquaredError) and (problem.balanced or free or not problem.bias):
        return symmetric.squared_error_optimum(problem)
    if isinstance(problem.loss, CrossEntropy | Focal | Hinge) and problem.balanced:
        return symmetric.ridge_optimum(problem)
    return None


def _of_bounded(problem: "Problem") -> Optimum | None:
    constraint = problem.constraint
    if isinstance(constraint, NormBalls) and not constraint.alike:
        return None
    solve = BOUNDED.get(type(constraint))  # type: ignore[arg-type]
    simple = problem.balanced and problem.loss == CrossEntropy() and problem.regulariser is None and not problem.bias
    return solve(problem) if solve and simple else None
