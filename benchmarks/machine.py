"""The machine of a result, and the one thread on which its numbers are taken."""

import importlib.metadata
import os
import platform
import re
from pathlib import Path

__all__ = ["describe", "pin_to_one_thread", "slug"]

PACKAGES = ("layerpeel", "numpy", "scipy", "jax", "jaxlib", "optax", "numba", "torch")


def pin_to_one_thread() -> None:
    """One BLAS, OpenMP and torch thread here and in children, on one core where the system can say so.

    To be called before numpy, jax or torch are imported: they size their pools when they load.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def describe() -> dict[str, object]:
    """Processor, cores, memory, system, Python and the versions of what is compared."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads used": 1,
        "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }


def slug() -> str:
    """A file name for the machine: its processor and number of cores."""
    return re.sub(r"[^a-z0-9]+", "-", f"{_cpu()} {os.cpu_count()} cores".lower()).strip("-")


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    fields = dict(re.findall(r"^([^\t\n]+?)\s*: (.*)$", info.read_text(), re.MULTILINE))
    family = f"family {fields.get('cpu family', '?')} model {fields.get('model', '?')}"
    return f"{fields.get('model name', platform.machine())} ({family})"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
