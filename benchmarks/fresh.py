"""The child's side of ``timing.in_fresh_process``: one call, its result and its peak memory as JSON.

The peak is the high-water mark of this address space (VmHWM): unlike ru_maxrss it does not inherit the
parent's.
"""

import importlib
import json
import resource
import sys
from pathlib import Path

__all__ = ["main"]


def main(entry: str, options: str) -> None:
    """Call ``benchmarks.<module>:<function>`` with keyword ``options`` (JSON) and print what it returns."""
    module, function = entry.split(":")
    result = getattr(importlib.import_module(f"benchmarks.{module}"), function)(**json.loads(options))
    print(json.dumps({**result, "peak_bytes": peak_bytes()}))


def peak_bytes() -> int:
    """The largest resident set this process has had."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main(*sys.argv[1:])
