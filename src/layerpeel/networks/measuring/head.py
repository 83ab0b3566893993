"""The head of a network: the last linear layer, whose input is the features and whose rows are the classifier W.

A head is any module with a ``weight`` (K, d) that is applied to features of length d, and maybe a ``bias`` (K,).
By default it is the last one registered of ``torch.nn.Linear`` and of the heads of this package. That is the
order of construction, not of execution: a model whose last linear layer is no classifier needs it by name.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from layerpeel.networks.models.etf_classifier import ETFClassifier

__all__ = ["find_head", "unwrapped", "weight_and_bias"]

LINEAR = (nn.Linear, ETFClassifier)


def find_head(model: nn.Module, head: str | nn.Module | None = None) -> tuple[str, nn.Module]:
    """Name and module of the head of ``model``: its last linear layer, a named module, or a module of it.

    Names are those inside ``DataParallel``, ``DistributedDataParallel`` and ``torch.compile``, without their
    prefixes; of a module registered twice, the last one.

    Raises:
        ValueError: for a model without a linear layer, a head that is not in it, or one without a weight (K, d).
    """
    named = _named_modules(unwrapped(model))
    name = _last_linear(named, model) if head is None else _given(named, head)
    return name, _with_weight(name, named[name])


def weight_and_bias(head: nn.Module) -> tuple[Float[Tensor, "K d"], Float[Tensor, "K"] | None]:
    """W and b of a head as they are now, detached; None for a head without bias."""
    bias = getattr(head, "bias", None)
    return head.weight.detach(), None if bias is None else bias.detach()


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's own module inside ``DataParallel``, ``DistributedDataParallel`` and ``torch.compile``."""
    while (inner := _inside(model)) is not None:
        model = inner
    return model


def _inside(model: nn.Module) -> nn.Module | None:
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return model.module
    return getattr(model, "_orig_mod", None)


def _named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every name a module goes by, those inside a compiled part without its ``_orig_mod``."""
    named = model.named_modules(remove_duplicate=False)
    return {
        ".".join(part for part in name.split(".") if part != "_orig_mod"): unwrapped(module) for name, module in named
    }


def _last_linear(named: dict[str, nn.Module], model: nn.Module) -> str:
    linear = _linear_names(named)
    if not linear:
        raise ValueError(
            f"need a model with a linear layer, got none in {type(unwrapped(model)).__name__}: name its head"
        )
    return linear[-1]


def _given(named: dict[str, nn.Module], head: str | nn.Module) -> str:
    if isinstance(head, str):
        if head not in named:
            raise ValueError(f"need the name of a module of the model as head{_known(named)}, got {head!r}")
        return head
    names = [name for name, module in named.items() if module is unwrapped(head)]
    if not names:
        raise ValueError(f"need a head that is a module of the model{_known(named)}, got another {_kind(head)}")
    return names[-1]


def _with_weight(name: str, module: nn.Module) -> nn.Module:
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or is_lazy(weight) or weight.ndim != 2:
        raise ValueError(f"need a head with a weight (K, d), got {name!r}, {_kind(module)} {_about(weight)}")
    return module


def _about(weight: object) -> str:
    if not isinstance(weight, Tensor):
        return "with no weight"
    return "before its first forward pass" if is_lazy(weight) else f"with a weight of shape {tuple(weight.shape)}"


def _linear_names(named: dict[str, nn.Module]) -> list[str]:
    return [name for name, module in named.items() if isinstance(module, LINEAR)]


def _known(named: dict[str, nn.Module]) -> str:
    linear = _linear_names(named)
    return f" (its linear layers: {', '.join(linear[-5:])})" if linear else ""


def _kind(module: object) -> str:
    return type(module).__name__
