"""``python -m benchmarks``: run the groups, print the table, keep the results.

A full run writes ``results/<machine>.json`` and ``results/README.md``; a partial one (``--only``,
``--quick``) writes only when told where (``--out``), so that the kept table is always one run.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks import machine
from benchmarks.row import Row
from benchmarks.table import as_json, as_markdown, as_table

GROUPS = ("descent", "seeds", "flow", "measure", "streaming", "training", "accuracy", "startup")
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Exit code: 1 when a target is missed or a check fails, 2 when a package is missing, else 0."""
    options = _options()
    machine.pin_to_one_thread()
    console = Console(stderr=True)
    try:
        rows = list(_run(options.only or GROUPS, quick=options.quick, console=console))
    except ImportError as missing:
        console.print(f"the benchmarks need {missing.name}: pip install 'layerpeel[bench,all]'", markup=False)
        return 2
    Console().print(as_table(rows))
    _keep(rows, _folder(options), console)
    return int(any(row.met is False for row in rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="layerpeel beside its peers and limits")
    parser.add_argument("--only", action="append", choices=GROUPS, help="run this group alone (may be repeated)")
    parser.add_argument("--quick", action="store_true", help="small sizes: does everything run and agree? Not a result")
    parser.add_argument("--out", type=Path, help=f"folder for the results (a full run: {RESULTS.name}/)")
    return parser.parse_args()


def _run(groups: tuple[str, ...], *, quick: bool, console: Console) -> Iterator[Row]:
    for group in groups:
        with console.status(f"{group} ..."):
            for row in importlib.import_module(f"benchmarks.{group}").rows(quick=quick):
                console.print(f"{row.group}: {row.what}: {row.measured}")
                yield replace(row, target=None) if quick else row


def _folder(options: argparse.Namespace) -> Path | None:
    chosen: Path | None = options.out
    return chosen if chosen or options.only or options.quick else RESULTS


def _keep(rows: list[Row], folder: Path | None, console: Console) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    described = machine.describe()
    (folder / f"{machine.slug()}.json").write_text(as_json(rows, described))
    (folder / "README.md").write_text(as_markdown(rows, described))
    console.print(f"kept in {folder}")


if __name__ == "__main__":
    sys.exit(main())
