"""Table 1, [43] and [26], and what came after: regularised features, four losses, a ReLU, more layers.

With lam = sqrt(lam_W lam_H) the least of (lam_W/2) |W|^2 + (lam_H/2) |H|^2 over W H = Z is lam |Z|_* for d >= rank Z:
the models below ask for the logits Z that are best under a nuclear norm, a convex problem for all losses but the focal
one.
"""

import numpy as np

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.known_optima import above, bounded_below, descended, golden
from layerpeel.problem import CrossEntropy, Focal, Hinge, Problem, deep_ufm, mse_ufm, ufm
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
