"""The objective as pure functions of (problem, state): what jax differentiates, compiles and batches.

With l_i the loss of sample i at column i of Z = W H (+ b 1'), the objective is sum_i l_i or its mean, plus the
regulariser. ``log_objective`` is its logarithm, formed from log l_i, so that it and its gradient stay exact
where the objective underflows. States here are single points of jax arrays; the methods of
:class:`layerpeel.Problem` are the boundary that takes numpy arrays and a seed axis.
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from layerpeel.problem.losses import ExponentialTailed
from layerpeel.problem.state import State

if TYPE_CHECKING:
    from layerpeel.problem.problem import Problem

__all__ = [
    "alignment",
    "features",
    "gradient",
    "log_gradient",
    "log_logit_gradient",
    "log_objective",
    "log_reduced",
    "logits",
    "objective",
]


def logits(state: State) -> Float[Any, "K N"]:
    """Z = W M_1 .. M_L H + b 1'."""
    Z = _product(state.W, features(state))
    return Z if state.b is None else Z + state.b[:, None]


def features(state: State) -> Float[Any, "*seed d N"]:
    """M_1 .. M_L H, what enters the classifiers: H itself in a model without hidden layers."""
    H = state.H
    layers = 0 if state.hidden is None else state.hidden.shape[-3]
    for i in reversed(range(layers)):
        H = state.hidden[..., i, :, :] @ H
    return H


@jax.custom_jvp
def _product(W: Float[Any, "K d"], H: Float[Any, "d N"]) -> Float[Any, "K N"]:
    return W @ H


@_product.defjvp
def _product_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    """dZ = dW H + W dH, with W' formed for its own sake: grad_H = W' G is then a plain product of small matrices.

    The compiler's own form, a product with a transposed left side, costs a tenth more time a step on a CPU.
    """
    W, H = primals
    dW, dH = tangents
    Wt = jax.lax.optimization_barrier(W.T)
    return W @ H, dW @ H + jax.lax.dot_general(Wt, dH, (((0,), (0,)), ((), ())))


def objective(problem: "Problem", state: State) -> Float[Any, ""]:
    """Sum or mean over samples of the loss, plus the regulariser."""
    losses = problem.loss.value(logits(state), problem.onehot)
    if jnp.shape(losses) != (problem.N,):
        raise ValueError(f"need one loss a sample, shape ({problem.N},), got {jnp.shape(losses)} from {problem.loss!r}")
    data = jnp.sum(losses) if problem.reduction == "sum" else jnp.mean(losses)
    return data if problem.regulariser is None else data + problem.regulariser.value(state)


def log_objective(problem: "Problem", state: State) -> Float[Any, ""]:
    """log of :func:`objective`: exact past underflow when the loss is exponential-tailed and not regularised."""
    if problem.regulariser is not None or not problem.loss.vanishes:
        return jnp.log(objective(problem, state))
    return log_reduced(problem, logits(state))


def log_reduced(problem: "Problem", Z: Float[Any, "K N"]) -> Float[Any, ""]:
    """log of the reduced loss as a function of the logits."""
    if isinstance(problem.loss, ExponentialTailed):
        total = jax.nn.logsumexp(problem.loss.log_value(Z, problem.onehot))
    else:
        total = jnp.log(jnp.sum(problem.loss.value(Z, problem.onehot)))
    return total if problem.reduction == "sum" else total - np.log(problem.N)


gradient = jax.grad(objective, argnums=1)
log_gradient = jax.grad(log_objective, argnums=1)


def log_logit_gradient(problem: "Problem", state: State) -> Float[Any, "K N"]:
    """G / L = d log L / dZ of the loss L without what is added to it: exact where both underflow.

    For cross-entropy an entry of a wrong class is its probability p_ki over the summed loss; every column sums to 0.
    grad log L = (G/L H', W' G/L); the factor of the reduction cancels.
    """
    return jax.grad(log_reduced, argnums=1)(problem, logits(state))


def alignment(problem: "Problem", state: State) -> tuple[Float[Any, ""], Float[Any, ""]]:
    """beta = <theta, -grad L> / (|theta| |grad L|) and 1 - beta, the latter as |u - v|^2 / 2 without cancellation.

    beta is 1 where the flow moves radially (Lemma 3.2 of the paper, whose formula lacks the minus). Undefined (nan) at
    theta = 0 and at critical points. Taken from grad log L, which has the same direction and does not underflow.
    """
    gap = (_unit(state) + _unit(log_gradient(problem, state))).squared_norm / 2
    return 1 - gap, gap


def _unit(state: State) -> State:
    return jax.tree.map(lambda x: x / jnp.sqrt(state.squared_norm), state)
