"""Torch's global switches for the time of a run: set as its plan says, and put back afterwards.

Float32 means float32: TF32 products, which keep 10 bits of mantissa, are taken for ``precision="tf32"`` and
``"bfloat16"`` only, and for training only: records are exact float32. Deterministic runs insist on algorithms without
atomic sums; torch warns where it has none.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from layerpeel.networks.training.plan import Plan

__all__ = ["exact_float32", "switched"]

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def switched(plan: Plan, device: torch.device) -> Iterator[None]:
    """The scope of a run: its switches, and random numbers of its own."""
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        fast = plan.precision in ("tf32", "bfloat16")
        _set(stack, torch.backends.cuda.matmul, "allow_tf32", fast)
        _set(stack, torch.backends.cudnn, "allow_tf32", fast)
        _set(stack, torch.backends.cudnn, "benchmark", not plan.deterministic)
        _set(stack, torch.backends.cudnn, "deterministic", plan.deterministic)
        if plan.deterministic:
            _insist(stack)
        yield


@contextmanager
def exact_float32() -> Iterator[None]:
    """The scope of a record: no TF32, whatever the training takes."""
    with ExitStack() as stack:
        _set(stack, torch.backends.cuda.matmul, "allow_tf32", False)
        _set(stack, torch.backends.cudnn, "allow_tf32", False)
        yield


def _insist(stack: ExitStack) -> None:
    before = os.environ.get(WORKSPACE)
    os.environ.setdefault(WORKSPACE, ":4096:8")  # cuBLAS reads it when it is first used
    stack.callback(_restore, before)
    stack.callback(
        torch.use_deterministic_algorithms,
        torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    _set(stack, torch.utils.deterministic, "fill_uninitialized_memory", False)
    torch.use_deterministic_algorithms(True, warn_only=True)


def _set(stack: ExitStack, switch: Any, name: str, value: bool) -> None:
    stack.callback(setattr, switch, name, getattr(switch, name))
    setattr(switch, name, value)


def _restore(before: str | None) -> None:
    os.environ.pop(WORKSPACE, None)
    if before is not None:
        os.environ[WORKSPACE] = before
