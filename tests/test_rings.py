"""A missing optional package gives one sentence with the command that installs it."""

import subprocess
import sys

import pytest

from layerpeel.rings import RINGS, MissingRing, explain_missing, require


def test_require_hands_back_the_module():
    assert require("json").__name__ == "json"


def test_a_missing_optional_package_names_its_extra():
    sentence = str(explain_missing(ModuleNotFoundError("no", name="sklearn.datasets")))
    assert sentence == "this needs the package sklearn, which is not installed: pip install 'layerpeel[data]'"


def test_a_missing_framework_is_installed_by_its_own_name():
    sentence = str(explain_missing(ModuleNotFoundError("no", name="lightning.pytorch")))
    assert sentence == "this needs the package lightning, which is not installed: pip install lightning"


def test_another_missing_module_is_left_as_it_is():
    error = ModuleNotFoundError("no", name="surely_not_there")
    assert explain_missing(error) is error
    with pytest.raises(ModuleNotFoundError):
        require("surely_not_there")


BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {modules!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
{code}
"""


def without(modules, code):
    script = BLOCKED.format(modules=modules, code=code)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("jax", "import layerpeel as lp; lp.ulpm(5, 10, 20)"),
        ("optax", "import layerpeel as lp; lp.descend"),
        ("cvxpy", "import layerpeel as lp; lp.lpm(3, (3, 2, 1), 3, 1, 1).optimum()"),
        ("sklearn", "from layerpeel.networks import digits; digits()"),
    ],
)
def test_without_the_package_the_user_reads_one_sentence(module, code):
    done = without([module], code)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"pip install 'layerpeel[{RINGS[module]}]'")


@pytest.mark.parametrize(
    ("module", "name"), [("lightning", "CollapseCallback"), ("transformers", "CollapseTrainerCallback")]
)
def test_without_its_framework_a_callback_is_one_sentence(module, name):
    done = without([module], f"import layerpeel.torch; layerpeel.torch.{name}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"which is not installed: pip install {module}")


def test_measuring_needs_no_ring():
    done = without(list(RINGS), "import numpy as np, layerpeel as lp; print(lp.measure(np.eye(4), [0, 0, 1, 1]).rank)")
    assert done.stdout == "1\n", done.stderr


def test_the_command_says_which_ring_is_missing_and_leaves_no_folder(tmp_path):
    arguments = ["layerpeel", "run", "ulpm-dynamics", "--out", str(tmp_path / "run")]
    done = without(["jax"], f"sys.argv = {arguments}\nfrom layerpeel.cli import main\nmain()")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "layerpeel: this needs the package jax, which is not installed: pip install 'layerpeel[theory]'"
    ]
    assert not (tmp_path / "run").exists()


def test_missing_ring_is_an_import_error():
    assert issubclass(MissingRing, ImportError)
