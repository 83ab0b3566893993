"""Trainee: one network under training, an epoch at a time, over one rank or several.

Invariant: what the next epoch does depends on the plan, the number of the epoch and :meth:`Trainee.snapshot` alone, so
that a network with that snapshot goes on bit for bit.

Several ranks compute what one would, up to rounding: each takes its share of every batch, its mean loss is weighted
by that share, gradients are averaged (DistributedDataParallel), and batch norms are those of the whole batch.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from layerpeel.networks.training.batch_norm import synchronised
from layerpeel.networks.training.checkpoint import Snapshot
from layerpeel.networks.training.criterion import training_loss
from layerpeel.networks.training.plan import Plan
from layerpeel.networks.training.ranks import Ranks
from layerpeel.networks.training.replay import Replay
from layerpeel.networks.training.resident import Resident, epoch_order

__all__ = ["NotFinite", "Trainee"]


class NotFinite(ArithmeticError):
    """The training left the finite numbers; the message says what did."""


class Trainee:
    """A network of one seed, with its optimiser, on the device of its rank, in the dtype of its data."""

    def __init__(self, build: Callable[[], nn.Module], data: Resident, plan: Plan, ranks: Ranks, *, seed: int) -> None:
        torch.manual_seed(seed)
        self.plan, self.ranks, self.data, self.seed = plan, ranks, data, seed
        model = build().to(ranks.device, dtype=data.dtype)
        if plan.channels_last:
            model = model.to(memory_format=torch.channels_last)
        self.model = model if ranks.size == 1 else synchronised(model, ranks.device)
        replayed = plan.compile and ranks.size == 1 and ranks.device.type == "cuda"
        self.optimizer = torch.optim.SGD(
            [p for p in self.model.parameters() if p.requires_grad],
            lr=torch.tensor(plan.learning_rate, device=ranks.device) if replayed else plan.learning_rate,
            momentum=plan.momentum,
            weight_decay=plan.weight_decay,
            fused=True,
        )
        self.criterion = training_loss(plan.loss, plan.label_smoothing)
        self._forward = self._wrapped()
        self._total = torch.zeros((), dtype=torch.float64, device=ranks.device)
        """Of the losses of the samples that this rank has taken in this epoch."""
        self._take = Replay(self._step, ranks.device) if replayed else self._step

    def train(self, epoch: int) -> float:
        """One epoch, numbered from 1; the mean loss on the way.

        Raises:
            NotFinite: when the loss or a parameter is no longer finite.
        """
        self._set_rate(self.plan.rate(epoch))
        size = len(self.data)
        order = epoch_order(size, seed=self.seed, epoch=epoch).to(self.ranks.device)
        self._total.zero_()
        self.model.train()
        for batch in order.tensor_split(self.plan.batches(size)):
            self._take(batch)
        loss = sum(self.ranks.pool(self._total.item)) / size
        self._check(loss)
        return loss

    def snapshot(self) -> Snapshot:
        """Copies of all that the next epoch depends on."""
        momenta = {}
        for name, parameter in self.model.named_parameters():
            momentum = self.optimizer.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                momenta[name] = momentum.clone()
        generators = {"cpu": torch.get_rng_state()}
        if self.ranks.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.ranks.device)
        weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        return Snapshot(weights=weights, momenta=momenta, generators=generators)

    def restore(self, kept: Snapshot) -> None:
        """The inverse of :meth:`snapshot`."""
        self.model.load_state_dict(kept.weights)
        for name, parameter in self.model.named_parameters():
            if (momentum := kept.momenta.get(name)) is not None:
                like = torch.empty_like(parameter, requires_grad=False)  # of the parameter's device and memory format
                self.optimizer.state[parameter]["momentum_buffer"] = like.copy_(momentum)
        torch.set_rng_state(kept.generators["cpu"].cpu())
        if "cuda" in kept.generators and self.ranks.device.type == "cuda":
            torch.cuda.set_rng_state(kept.generators["cuda"].cpu(), self.ranks.device)

    def _wrapped(self) -> Callable[[Tensor], Tensor]:
        """What training calls: the network in its wrappers. Measuring calls the network itself."""
        forward: Any = self.model
        on_gpu = self.ranks.device.type == "cuda"
        if self.plan.compile:
            forward = torch.compile(forward, dynamic=False)
        if self.ranks.size > 1:
            devices = [self.ranks.device] if on_gpu else None
            forward = nn.parallel.DistributedDataParallel(forward, device_ids=devices)
        return forward

    def _set_rate(self, rate: float) -> None:
        """In place where the steps are replayed, which know the tensor and not its value."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _step(self, batch: Tensor) -> None:
        mine = self.ranks.share(batch)
        x, y = self.data.batch(mine)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.plan.precision == "bfloat16"):
            logits = self._forward(x)
        loss = self.criterion(logits.to(self.data.dtype), y)
        self.optimizer.zero_grad()
        (loss * (len(mine) * self.ranks.size / len(batch))).backward()
        self.optimizer.step()
        self._total += loss.detach() * len(mine)

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise NotFinite(f"the training loss is {loss}")
        for name, value in self.model.state_dict().items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise NotFinite(f"{name} of the network has nan or inf")
