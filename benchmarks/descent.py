"""Descent: 10^5 steps of the paper's experiment, 40 records.

K = 5, n = 10, d = 20, mean loss, learning rate 5, float64. Compared, in one process: ``lp.descend`` with
``optax.sgd``; a hand-written Numba kernel (any size, BLAS products) whose 40 states are measured by
``lp.measure``, so that both sides deliver the same fields and the ratio is that of the descent; the same kernel
and one that knows this size (the limit of one core), which keep their states and measure nothing; PyTorch autograd
with torch.optim.SGD, a fiftieth of the steps, scaled up, without records. "Warm" is a further run of the same
problem and optimiser in one process, "cold" the first in a fresh one, compilation included, imports not. All start
from the same numbers and have to reach the same loss: the golden one after 10^5 steps, for PyTorch the kernel's
own at the step where it stops. Not compared: other optimisers, which the kernels do not have.
"""

import importlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from benchmarks.row import Row, Target
from benchmarks.timing import Timing, alternate, in_fresh_process, timed

__all__ = ["cold", "layerpeel_run", "rows"]

CLASSES, SAMPLES, DIMENSION = 5, 10, 20
RATE, SCALE, RECORDS = 5.0, 0.1, 40
LABELS = np.repeat(np.arange(CLASSES), SAMPLES)
GOLDEN_LOSS = {100_000: 8.8441e-07}
TORCH_SHARE = 50


def rows(*, quick: bool) -> Iterator[Row]:
    """layerpeel against Numba, PyTorch and the limit, warm; then against Numba from a cold start."""
    steps = 2_000 if quick else 100_000
    contenders = _contenders(steps)
    failure = _disagreement({name: run() for name, run in contenders.items()}, steps)
    taken = alternate(contenders, repetitions=1 if quick else 7)
    ours, torch = taken["layerpeel"], taken["torch"].times(TORCH_SHARE)
    note = f"without measuring anything the kernel takes {taken['bare']}, {ours.cpu / taken['bare'].cpu:.3g}x"
    yield _slower("Numba kernel", ours, taken["numba"], Target(1.3, "x"), note, failure)
    speedup, target = torch.cpu / ours.cpu, Target(30, "x", at_least=True)
    note = f"PyTorch ran {steps // TORCH_SHARE:,} of {steps:,} steps, without records; its time is scaled up"
    raw = {name: timing.asdict() for name, timing in taken.items()}
    yield Row("descent", "PyTorch loop", str(ours), str(torch), speedup, "x", target, note, failure, raw)
    yield _slower("limit of one core", ours, taken["limit"], None, "measures nothing", failure)
    if not quick:
        yield _cold(steps)


def cold(contender: str, steps: int) -> dict[str, Any]:
    """The first run of ``contender`` in this process. For a fresh process."""
    run = _contenders(steps)[contender]
    _imports(contender)
    return timed(run)[1].asdict()


def layerpeel_run(steps: int, seeds: int = 1) -> float:
    """The loss of the first seed after ``steps`` steps of ``lp.descend`` from ``seeds`` starts at once."""
    import layerpeel as lp

    problem, optimizer = _model()
    state = problem.init(seed=0 if seeds == 1 else range(seeds), scale=SCALE)
    run = lp.descend(problem, state, optimizer, steps=steps, record=RECORDS)
    return float(run.metrics["loss"][0, -1])


@cache
def _model() -> tuple[Any, Any]:
    import optax

    import layerpeel as lp

    return lp.ulpm(K=CLASSES, n=SAMPLES, d=DIMENSION), optax.sgd(RATE)


def _contenders(steps: int) -> dict[str, Callable[[], float]]:
    """Name -> the whole run, records included, which returns its last loss."""
    return {
        "layerpeel": lambda: layerpeel_run(steps),
        "numba": lambda: _kernel_run("numba_descent", steps, measured=True),
        "bare": lambda: _kernel_run("numba_descent", steps),
        "limit": lambda: _kernel_run("limit_descent", steps),
        "torch": lambda: _torch_run(steps // TORCH_SHARE),
    }


def _kernel_run(name: str, steps: int, *, measured: bool = False) -> float:
    import layerpeel as lp

    (W, H), advance = _start(), _peer(name).advance
    taken, states = 0, []
    for stop in _loglog_spaced(steps, RECORDS):
        advance(W, H, LABELS, RATE, stop - taken)
        states.append((W.copy(), H.copy()))
        taken = stop
    if measured:
        for W, H in states:
            lp.measure(H.T, LABELS, classifier=W, num_classes=CLASSES)
    return _mean_loss(W, H)


def _torch_run(steps: int) -> float:
    W, H = _peer("torch_descent").descend(*_start(), LABELS, rate=RATE, steps=steps)
    return _mean_loss(W, H)


def _mean_loss(W: Any, H: Any) -> float:
    """(1/N) sum_i log(1 + sum_{k != y_i} exp(z_ki - z_yi))."""
    own = (LABELS, np.arange(len(LABELS)))
    Z = W @ H
    wrong = np.exp(Z - Z[own])
    wrong[own] = 0.0
    return float(np.log1p(wrong.sum(axis=0)).mean())


def _peer(name: str) -> Any:
    """A module of :mod:`benchmarks.peers`, when it is needed: not every process has to import torch."""
    return importlib.import_module(f"benchmarks.peers.{name}")


def _start() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    W = SCALE * random.standard_normal((CLASSES, DIMENSION))
    return W, SCALE * random.standard_normal((DIMENSION, CLASSES * SAMPLES))


def _loglog_spaced(steps: int, count: int) -> list[int]:
    points = np.exp(np.exp(np.linspace(np.log(np.log(2)), np.log(np.log(steps)), count)))
    return [int(point) for point in np.round(points)]


def _disagreement(losses: dict[str, float], steps: int) -> str:
    """A sentence if the runs do not end at the same loss, else nothing."""
    golden = GOLDEN_LOSS.get(steps, losses["numba"])
    expected = {**dict.fromkeys(losses, golden), "torch": _kernel_run("numba_descent", steps // TORCH_SHARE)}
    wrong = [name for name, loss in losses.items() if not abs(loss / expected[name] - 1) < 1e-5]
    return f"wrong last loss: {[(name, losses[name], expected[name]) for name in wrong]}" if wrong else ""


def _cold(steps: int) -> Row:
    def once(contender: str) -> Timing:
        taken = in_fresh_process("descent:cold", contender=contender, steps=steps)
        return Timing(taken["wall"], taken["cpu"])

    return _slower("Numba kernel, cold", once("layerpeel"), once("numba"), None, "", "")


def _imports(contender: str) -> None:
    _model() if contender == "layerpeel" else _peer(f"{contender}_descent")


def _slower(peer: str, ours: Timing, theirs: Timing, target: Target | None, note: str, failure: str) -> Row:
    """How many times the peer's CPU seconds layerpeel takes."""
    return Row("descent", peer, str(ours), str(theirs), ours.cpu / theirs.cpu, "x", target, note, failure)
