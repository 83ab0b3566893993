"""What enters the head of a network: the features, by a hook that is removed again.

    with FeatureTap(model) as tap:
        model(x)
        lp.measure(tap.features, y, classifier=tap.classifier, bias=tap.bias)

Invariant: after the tap the model is what it was, also when an error ends the tap: no hook stays, nothing is
compiled anew, no features are kept alive.

Inside the tap the model runs uncompiled, as code compiled before does not see a hook registered later, and a
``DataParallel`` model on its first device only, as its copies would each see a part of the batch.
"""

import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from layerpeel.networks.measuring.head import find_head, weight_and_bias

__all__ = ["FeatureTap"]


class FeatureTap:
    """Context manager that sees what enters the head of ``model``: ``features``, ``calls``, ``classifier``, ``bias``.

    The head is the last linear layer of the model, a module of it by name, or that module (:func:`find_head`).
    """

    def __init__(self, model: nn.Module, head: str | nn.Module | None = None) -> None:
        self.name, self.head = find_head(model, head)
        self.calls = 0
        """How often the head was called since the tap was entered."""
        self._model = model
        self._features: Tensor | None = None
        self._open: ExitStack | None = None

    @property
    def features(self) -> Float[Tensor, "*batch d"]:
        """What entered the head when it was last called: detached, of the device, dtype and shape it came in.

        Not a copy: a later operation in place on the input of the head changes it.

        Raises:
            ValueError: before the first call, and after the tap.
        """
        if self._features is None:
            raise ValueError(
                f"need a forward pass through the head {self.name!r} inside the tap, got {self._nothing()}"
            )
        return self._features

    @property
    def classifier(self) -> Float[Tensor, "K d"]:
        """W, the weight of the head as it is now, detached."""
        return weight_and_bias(self.head)[0]

    @property
    def bias(self) -> Float[Tensor, "K"] | None:
        """b, the bias of the head as it is now, detached; None for a head without."""
        return weight_and_bias(self.head)[1]

    def __enter__(self) -> "FeatureTap":
        if self._open is not None:
            raise ValueError("need a tap that is not open, got one entered twice")
        self.calls = 0
        with ExitStack() as stack:
            stack.callback(self._forget)
            _run_uncompiled(stack)
            _run_on_one_device(self._model, stack)
            stack.callback(self.head.register_forward_pre_hook(self._see, with_kwargs=True).remove)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open.close()

    def _see(self, head: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if not tensors:
            raise ValueError(f"need a head that is called with a tensor, got {self.name!r} called without")
        self._features = tensors[0].detach()
        self.calls += 1

    def _forget(self) -> None:
        self._features, self._open = None, None

    def _nothing(self) -> str:
        return "no call of it yet" if self._open is not None else "a tap that is not open"


def _run_uncompiled(stack: ExitStack) -> None:
    """Whatever was compiled runs as plain Python, and stays compiled for later."""
    if "torch._dynamo" in sys.modules:  # which torch.compile loads, in two seconds
        stack.enter_context(torch.compiler.set_stance("force_eager"))


def _run_on_one_device(model: nn.Module, stack: ExitStack) -> None:
    for module in model.modules():
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            stack.callback(setattr, module, "device_ids", module.device_ids)
            module.device_ids = module.device_ids[:1]
