"""Imports follow the theory, one way, without cycles; importing the package is light and changes nothing."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "layerpeel"
GROUND = {"files", "rings", "progress", "outcome", "sampling", "frames", "separation", "wording"}
ALLOWED = {
    **dict.fromkeys(GROUND, GROUND),
    "problem": GROUND,
    "collapse": GROUND,
    "dynamics": GROUND | {"problem", "collapse"},
    "certify": GROUND | {"problem", "collapse", "dynamics"},
    "records": GROUND,
    "networks": GROUND | {"collapse", "records"},
    "torch": GROUND | {"networks"},
    "figures": GROUND | {"records"},
}
ALLOWED["experiments"] = set().union(*ALLOWED.values(), {"certify", "figures"})
ALLOWED["doctor"] = ALLOWED["experiments"]
ALLOWED["cli"] = ALLOWED["experiments"] | {"certify", "experiments", "doctor"}
ALLOWED["__main__"] = {"cli"}
FOREIGN = {"collapse": {"jax", "torch"}, "frames": {"jax", "torch"}, "figures": {"jax", "torch"}, "records": {"jax"}}


def modules():
    return {path: path.relative_to(SOURCE.parent).with_suffix("").parts for path in SOURCE.rglob("*.py")}


def running_imports(tree):
    """Names imported by code that runs: everything but the bodies of ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from running_imports(node)


def edges():
    for path, parts in modules().items():
        for name in set(running_imports(ast.parse(path.read_text()))):
            yield parts, name.split(".")


def home(parts):
    return parts[1] if len(parts) > 1 and parts[1] != "__init__" else None


def test_imports_point_one_way():
    upward = [
        f"{'.'.join(importer)} imports {'.'.join(imported)}"
        for importer, imported in edges()
        if imported[0] == "layerpeel" and home(importer) and home(imported)
        if home(imported) != home(importer) and home(imported) in ALLOWED
        if home(imported) not in ALLOWED[home(importer)]
    ]
    assert upward == []


def test_parts_import_parts_and_never_the_whole():
    whole = [
        ".".join(importer) for importer, imported in edges() if imported == ["layerpeel"] and home(importer) != "cli"
    ]
    assert whole == []


def test_every_part_has_its_place_in_the_order():
    assert {home(parts) for parts in modules().values()} - {None} == set(ALLOWED)


def test_no_module_imports_itself_in_a_circle():
    known = {".".join(parts): parts for parts in modules().values()}
    graph = {name: set() for name in known}
    for importer, imported in edges():
        for target in (".".join(imported), ".".join(imported[:-1])):
            if target in graph and not target.endswith("__init__"):
                graph[".".join(importer)].add(target)
    done = set()

    def visit(name, path):
        assert name not in path, f"circle: {' -> '.join((*path, name))}"
        if name not in done:
            for target in graph[name]:
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_collapse_figures_and_records_know_no_framework():
    found = [
        f"{'.'.join(importer)}: {imported[0]}"
        for importer, imported in edges()
        if imported[0] in FOREIGN.get(home(importer) or "", set())
    ]
    assert found == []


def test_no_drawer_for_everything():
    assert not {"utils", "helpers", "common", "base", "manager", "misc"} & {path.stem for path in modules()}


def test_import_is_light_and_changes_no_global_state():
    script = """
import sys, warnings, json
before = list(warnings.filters)
import layerpeel
dir(layerpeel)
heavy = ["jax", "torch", "matplotlib", "xarray", "sklearn", "scipy", "pandas", "numpy"]
print(json.dumps([[m for m in heavy if m in sys.modules], before == warnings.filters]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], True]


def test_help_loads_no_framework():
    script = """
import sys, json
sys.argv = ["layerpeel", "--help"]
from layerpeel.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
print(json.dumps([m for m in ["jax", "torch", "matplotlib", "xarray", "sklearn", "scipy"] if m in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_public_names_resolve():
    import layerpeel as lp

    for name in lp.__all__:
        assert getattr(lp, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'flux'"):
        _ = lp.flux


def test_torchvision_stays_out():
    assert importlib.util.find_spec("torchvision") is None, "torchvision breaks the CPU build of torch"
