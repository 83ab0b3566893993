"""Table 1, [43] and [26], and what came after: regularised features, four losses, a ReLU, more layers.

With lam = sqrt(lam_W lam_H) the least of (lam_W/2) |W|^2 + (lam_H/2) |H|^2 over W H = Z is lam |Z|_* for d >= rank Z:
the models below ask for the logits Z that are best under a nuclear norm, a convex problem for all losses but the focal
one.
"""

from collections.abc import Iterator

import numpy as np

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.known_optima import above, bounded_below, descended, golden, top_singular_value
from layerpeel.certify.lowest_curvature import lowest_curvature
from layerpeel.certify.ridge_escape import ridge_escape
from layerpeel.certify.ridge_polish import ridge_polish
from layerpeel.problem import (
    CrossEntropy,
    Focal,
    Hinge,
    Problem,
    State,
    deep_ufm,
    minority_collapse_weight,
    mse_ufm,
    ufm,
)
from layerpeel.problem.optima.deep import deep_blocks

__all__ = ["STATEMENTS"]

PLAIN = (
    (ufm(4, 5, 6, 5e-3, 5e-3), 0.183691995718),
    (ufm(4, 5, 6, 5e-3, 5e-3, 0.1), 0.183691995718),
    (ufm(10, 3, 12, 5e-4, 2e-3), 0.114584733595),
    (ufm(5, 4, 6, 0.1, 0.1001), float(np.log(5))),
)
SQUARED = (
    (mse_ufm(4, 5, 6, 5e-3, 5e-3), 0.043721359550),
    (mse_ufm(4, 5, 6, 5e-3, 5e-3, bias="free"), 0.032791019662),
    (mse_ufm(4, 5, 6, 5e-3, 5e-3, bias=0.5), 0.04322135955),
    (mse_ufm(4, [20, 10, 5, 1], 6, 0.01, 0.005), 0.0732659125),
)
SMOOTHED = ((ufm(4, 5, 6, 5e-3, 5e-3, loss=CrossEntropy(label_smoothing=0.1)), 0.462698570965),)
FOCAL = ((ufm(4, 5, 6, 5e-3, 5e-3, loss=Focal(2.0)), 0.091202717714),)
RELU = ((ufm(4, 2, 5, 5e-3, 5e-3, nonneg=True), 0.141961501950),)


def _cross_entropy() -> tuple[Evidence, ...]:
    problems = [problem for problem, _ in PLAIN]
    return (
        golden(PLAIN, tolerance=6e-13),
        above(problems),
        bounded_below(problems),
        descended([(problems[0], 2.0)]),
        trial("probability of a wrong class less sqrt(n) lam", [_wrong_probability(PLAIN[0][0])], tolerance=1e-13),
    )


def _wrong_probability(problem: Problem) -> tuple[float, str]:
    state = problem.optimum().state
    odds = np.exp(state.W @ state.H)
    wrong = (odds / odds.sum(0))[np.arange(problem.K)[:, None] != problem.labels]
    return float(np.abs(wrong - np.sqrt(problem.n[0]) * 5e-3).max()), "at the optimum"


def _squared() -> tuple[Evidence, ...]:
    problems = [problem for problem, _ in SQUARED]
    return (golden(SQUARED, tolerance=6e-11), above(problems), descended([(problems[0], 2.0), (problems[3], 2.0)]))


def _other_losses() -> tuple[Evidence, ...]:
    hinge = ufm(4, 5, 6, 5e-3, 5e-3, loss=Hinge())
    smoothed, focal = SMOOTHED[0][0], FOCAL[0][0]
    return (
        golden(SMOOTHED + FOCAL, tolerance=6e-13),
        above([smoothed, focal, hinge]),
        bounded_below([smoothed]),
        descended([(smoothed, 2.0), (focal, 2.0)]),
    )


def _saddles() -> tuple[Evidence, ...]:
    points = list(_critical_points())
    left = [ridge_escape(problem, state) for problem, state, _ in points]
    return (
        trial(
            "gradient at the critical points",
            [(problem.gradient(state).squared_norm ** 0.5, at) for problem, state, at in points],
            tolerance=1e-12,
        ),
        trial(
            "lowest eigenvalue of the Hessian less -2 (sigma_1 - lam)/(alpha² + 1/alpha²)",
            [(lowest_curvature(p, s).eigenvalue + _least_fall(p, s), at) for p, s, at in points],
            tolerance=1e-9,
        ),
        trial(
            "sign of (lam - sigma_1): not optimal, by more than 1e-3",
            [(1e-3 - _least_fall(p, s), at) for p, s, at in points],
            tolerance=1e-12,
        ),
        trial(
            "the escape's decrease, turned around, plus 1e-4",
            [(1e-4 - found.decrease, at) for found, (_, _, at) in zip(left, points, strict=True)],
            tolerance=1e-12,
        ),
        trial(
            "polished from there: what duality leaves of the objective",
            [(ridge_polish(problem, state).last.gap, at) for problem, state, at in points],
            tolerance=1e-9,
        ),
    )


def _critical_points() -> Iterator[tuple[Problem, State, str]]:
    """0, and optima of fewer classes: those left out have neither classifiers nor features."""
    for problem in (ufm(4, 2, 4, 5e-3, 5e-3), ufm(4, 2, 3, 2e-3, 8e-3), ufm(6, 1, 5, 0.01, 0.01)):
        zero = problem.init(0, scale=0.0)
        yield problem, zero, f"K={problem.K}, d={problem.d}, at 0"
        yield problem, _two_halves(problem), f"K={problem.K}, d={problem.d}, two halves told apart"


def _two_halves(problem: Problem) -> State:
    """The critical point that tells the first K/2 classes from the others and nothing else.

    All w_k = +-w and h_i = +-h along one axis, margin q between the halves: the other half has the probability P =
    1/(1 + e^q), the one singular value of G in these directions is 2P/sqrt(K N), and it is lam.
    """
    ridge = problem.regulariser
    lam = float(np.sqrt(ridge.lam_W * ridge.lam_H))  # type: ignore[union-attr]
    q = np.log(2 / (lam * np.sqrt(problem.K * problem.N)) - 1)
    sign = np.where(np.arange(problem.K) < problem.K / 2, 1.0, -1.0)
    norm = q / 2 * np.sqrt(problem.K * problem.N)  # |Z|_*
    ratio = np.sqrt(ridge.lam_H / ridge.lam_W)  # type: ignore[union-attr]
    axis = np.eye(problem.d)[0]
    W = np.sqrt(norm * ratio / problem.K) * np.outer(sign, axis)
    H = np.sqrt(norm / ratio / problem.N) * np.outer(axis, np.repeat(sign, problem.n))
    return State(W, H)


def _least_fall(problem: Problem, state: State) -> float:
    """2 (sigma_1 - lam)/(alpha^2 + alpha^-2), alpha^4 = lam_H/lam_W."""
    ridge = problem.regulariser
    lam = float(np.sqrt(ridge.lam_W * ridge.lam_H))  # type: ignore[union-attr]
    alpha2 = float(np.sqrt(ridge.lam_H / ridge.lam_W))  # type: ignore[union-attr]
    return 2 * (top_singular_value(problem, state) - lam) / (alpha2 + 1 / alpha2)


def _minority_weight() -> tuple[Evidence, ...]:
    sizes = (6, 2, 2)
    lam = minority_collapse_weight(sizes)
    apart = {factor: _minority_distance(sizes, lam * factor) for factor in (0.9, 1.1)}
    return (
        trial("weight less sqrt(n_B)/N", [(abs(lam - np.sqrt(2) / 10), f"{lam:.12f}")], tolerance=1e-15),
        trial("distance of the minority classifiers above it", [(apart[1.1], "1.1 times the weight")], tolerance=1e-6),
        trial("0.05 less that distance below it", [(0.05 - apart[0.9], f"{apart[0.9]:.3f}")], tolerance=1e-12),
    )


def _minority_distance(sizes: tuple[int, ...], lam: float) -> float:
    """|w_2 - w_3| at the polished optimum."""
    problem = ufm(3, sizes, 3, lam, lam)
    W = ridge_polish(problem, problem.init(0, scale=0.5)).state.W
    return float(np.linalg.norm(W[1] - W[2]))


def _relu() -> tuple[Evidence, ...]:
    problem = RELU[0][0]
    return (
        golden(RELU, tolerance=6e-13),
        above([problem]),
        trial("inner products of class means, and |sum of w_k|", [_off_frame(problem)], tolerance=1e-13),
    )


def _off_frame(problem: Problem) -> tuple[float, str]:
    state = problem.optimum().state
    means = state.H[:, :: problem.n[0]]
    inner = means.T @ means
    return max(np.abs(inner - np.diag(np.diag(inner))).max(), np.abs(state.W.sum(0)).max()), "at the optimum"


def _deep() -> tuple[Evidence, ...]:
    blocks = deep_blocks(deep_ufm(4, 1, 4, 4, 1e-4))
    values = [(abs(blocks[m].value - value), f"blocks of {m}") for m, value in ((2, 0.00187964), (4, 0.00202622))]
    return (
        trial("pairs and the simplex at K=4, 4 factors: less their golden values", values, tolerance=6e-9),
        trial("the one that wins over the other, less 1, plus .001", _leads(), tolerance=1e-12),
    )


def _leads() -> list[tuple[float, str]]:
    """By how much pairs lead where they are to win, or trail where not."""
    found = []
    for K, depth in ((4, 3), (4, 4), (10, 3), (16, 3)):
        blocks = deep_blocks(deep_ufm(K, 1, K, depth, 1e-9))
        lead = blocks[2].value / blocks[K].value - 1
        pairs_win = depth > 2 / np.log2(2 * (K - 1) / K)
        found.append(((lead if pairs_win else -lead) + 1e-3, f"K={K}, {depth} factors: {lead:+.3f}"))
    return found


STATEMENTS = (
    Statement(
        id="regularised-cross-entropy",
        place="Zhu et al. 2021, Theorem 3.1",
        text="The least mean cross-entropy + lam_W/2 |W|² + lam_H/2 |H|² is -log(1 - (K-1) sqrt(n) lam) + lam (K-1) "
        "sqrt(n) q, q = log(1/(sqrt(n) lam) - (K-1)), iff collapsed with lam_W W'W = lam_H HH'; W = H = 0 iff "
        "K sqrt(n) lam >= 1.",
        quantifier="for equal classes, all weights and d >= K-1",
        functions=("ufm", "Problem.optimum"),
        test="tests/problem/test_named.py",
        expected=Verdict.HOLDS,
        check=_cross_entropy,
    ),
    Statement(
        id="regularised-saddles",
        place="Zhu et al. 2021, Theorem 3.2",
        text="Critical points of the same objective that are not optimal are strict saddles: the Hessian has an "
        "eigenvalue -2 (sigma_1(G) - lam)/(alpha² + 1/alpha²) or below, alpha = (lam_H/lam_W)^(1/4).",
        quantifier="for d >= K-1: at 0 and where only two halves of the classes are told apart",
        functions=("escape", "polish", "lowest_curvature", "duality_gap"),
        test="tests/certify/test_ridge_escape.py",
        expected=Verdict.HOLDS,
        check=_saddles,
        remark="Two families of critical points, not all; escape decides at any point.",
    ),
    Statement(
        id="minority-weight",
        place="Hong and Ling 2023",
        text="With weights, the classifiers of the smallest classes coincide iff sqrt(n_B) <= N sqrt(lam_W lam_H).",
        quantifier="for two or more classes of n_B samples; n = (6, 2, 2) at 0.9 and 1.1 of the weight",
        functions=("minority_collapse_weight", "ufm"),
        test="tests/problem/test_thresholds.py",
        expected=Verdict.HOLDS,
        check=_minority_weight,
    ),
    Statement(
        id="squared-error",
        place="Mixon et al. 2020; Tirer and Bruna 2022",
        text="The least regularised squared error shrinks every singular mode of Y by N lam: an orthogonal frame "
        "without bias, an ETF with a free one, between them with a weighted one; a class is lost iff "
        "n_k <= N² lam_W lam_H.",
        quantifier="for equal classes, without bias for all class sizes",
        functions=("mse_ufm", "Problem.optimum"),
        test="tests/problem/test_named.py",
        expected=Verdict.HOLDS,
        check=_squared,
    ),
    Statement(
        id="other-losses",
        place="Zhou et al. 2022",
        text="Label smoothing, focal and hinge losses have collapsed optima too, at other margins: for smoothing a "
        "every wrong class has the probability a/K + sqrt(n) lam.",
        quantifier="for equal classes and d >= K-1",
        functions=("CrossEntropy", "Focal", "Hinge", "Problem.optimum"),
        test="tests/problem/test_named.py",
        expected=Verdict.HOLDS,
        check=_other_losses,
        remark="The focal loss is not convex: that nothing is lower is evidence from points and descents, no bound.",
    ),
    Statement(
        id="relu-features",
        place="Dang et al. 2024",
        text="With features >= 0 the class means are an orthogonal frame and the classifiers its centred copy.",
        quantifier="for equal classes and d >= K",
        functions=("ufm", "NonNegative", "Problem.optimum"),
        test="tests/problem/test_named.py",
        expected=Verdict.HOLDS,
        check=_relu,
    ),
    Statement(
        id="deep-features",
        place="Sukenik et al. 2024",
        text="With F factors of weight lam each, K/2 orthogonal pairs are lower than the simplex iff "
        "F > 2/log2(2(K-1)/K), as lam goes to 0.",
        quantifier="for K=4, 10, 16 and F=3, 4, lam=1e-9",
        functions=("deep_ufm", "Problem.optimum"),
        test="tests/problem/test_named.py",
        expected=Verdict.HOLDS,
        check=_deep,
    ),
)
