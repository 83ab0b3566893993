"""Doctor: what this installation has, for a user who wonders and for a bug report."""

import importlib.util
from collections.abc import Callable

from layerpeel.records.provenance import provenance
from layerpeel.rings import RINGS

__all__ = ["diagnose"]


def diagnose() -> dict[str, list[str]]:
    """Topic -> lines: versions, machine, rings, devices, image sets. A part that fails says so and stops nothing."""
    facts = provenance()
    return {
        "versions": [f"{name} {version}" for name, version in facts["versions"].items()],
        "machine": [
            str(facts["platform"]),
            f"{facts['processor']}, {facts['cores']} cores",
            *(f"{name}={value}" for name, value in facts["threads"].items()),
        ],
        "rings": [_ring(ring) for ring in dict.fromkeys(RINGS.values())],
        "devices": _tried(_jax_devices) + _tried(_torch_devices),
        "image sets": _tried(_image_sets),
    }


def _ring(ring: str) -> str:
    missing = [module for module, home in RINGS.items() if home == ring and not importlib.util.find_spec(module)]
    return f"{ring}: " + (f"missing {', '.join(missing)}: pip install 'layerpeel[{ring}]'" if missing else "installed")


def _tried(look: Callable[[], list[str]]) -> list[str]:
    try:
        return look()
    except Exception as error:  # a diagnosis must not fail with its patient
        return [" ".join(str(error).split())]


def _jax_devices() -> list[str]:
    import jax

    return [f"jax: {device}" for device in jax.devices()]


def _torch_devices() -> list[str]:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [f"torch: {name}" for name in ["cpu", *names]]


def _image_sets() -> list[str]:
    from layerpeel.networks import images

    found = images()
    return [f"{found.name}: {len(found.train_labels):,} train, {len(found.test_labels):,} test; {found.source}"]
