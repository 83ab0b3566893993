"""Problem (5) and Lemma 3.2 written out by loops over pairs of a sample and a rival, and points that separate."""

import numpy as np

import layerpeel as lp


def pairs(problem):
    """(sample i, rival j) of every constraint."""
    return [(i, j) for i, y in enumerate(problem.labels) for j in range(problem.K) if j != y]


def margin_of(problem, state, i, j):
    return (state.W[problem.labels[i]] - state.W[j]) @ state.H[:, i]


def margin_gradient(problem, state, i, j):
    y = problem.labels[i]
    W, H = np.zeros_like(state.W), np.zeros_like(state.H)
    W[y], W[j] = state.H[:, i], -state.H[:, i]
    H[:, i] = state.W[y] - state.W[j]
    return lp.State(W, H)


def combination(problem, state, multipliers):
    """sum lambda grad m."""
    total = lp.State(np.zeros_like(state.W), np.zeros_like(state.H))
    for i, j in pairs(problem):
        total = total + multipliers[j, i] * margin_gradient(problem, state, i, j)
    return total


def feasible_point(problem, state):
    return state * (1 / np.sqrt(min(margin_of(problem, state, i, j) for i, j in pairs(problem))))


def certificate(problem, state, multipliers):
    """(epsilon, delta) at the feasible point, by definition."""
    point = feasible_point(problem, state)
    epsilon = np.sqrt((point - combination(problem, point, multipliers)).squared_norm)
    return epsilon, sum(multipliers[j, i] * (margin_of(problem, point, i, j) - 1) for i, j in pairs(problem))


def softmax_multipliers(problem, state):
    """(|theta| / |grad L|) p, with the common factor e^{-q_min} of p left out."""
    margins = {(i, j): margin_of(problem, state, i, j) for i, j in pairs(problem)}
    least = min(margins.values())
    p = np.zeros((problem.K, problem.N))
    for (i, j), m in margins.items():
        others = sum(np.exp(-margins[i, k]) for k in range(problem.K) if k != problem.labels[i])
        p[j, i] = np.exp(least - m) / (1 + others)
    return p * np.sqrt(state.squared_norm / combination(problem, state, p).squared_norm)


def separating(problem, seed=0, *, noise=0.1, scale=1.0):
    """A frame that separates the classes (on a circle if d < K - 1), moved by noise and scaled."""
    if problem.d >= problem.K - 1:
        frame = problem.optimum("separation").state
    else:
        angle = 2 * np.pi * np.arange(problem.K) / problem.K
        W = np.zeros((problem.K, problem.d))
        W[:, :2] = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        frame = lp.State(W, W[problem.labels].T.copy())
    return scale * (frame + problem.init(seed=seed, scale=noise))
