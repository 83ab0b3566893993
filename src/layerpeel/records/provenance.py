"""Versions and hardware: what a number may depend on beside the config of its run.

Versions are read from the installed metadata, so that asking imports none of the libraries; a library that is
not installed is left out.
"""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

__all__ = ["provenance"]

CORE = ("layerpeel", "numpy", "scipy", "xarray", "h5netcdf", "h5py", "safetensors", "matplotlib")
OPTIONAL = ("jax", "jaxlib", "optax", "torch", "scikit-learn", "pyarrow")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS")


def provenance() -> dict[str, Any]:
    """The versions, platform, processor, usable cores and thread settings of this process, ready for JSON."""
    return {
        "versions": {"python": platform.python_version()} | _installed(CORE + OPTIONAL),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ},
    }


def _installed(names: tuple[str, ...]) -> dict[str, str]:
    return {name: version for name in names if (version := _version(name)) is not None}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())
