"""Deep features: blocks beat collapse from a depth on, and where K = 10 search goes below the blocks."""

import numpy as np
import pytest

import layerpeel as lp
from layerpeel.dynamics.minimise import minimise
from layerpeel.experiments import DeepFeatures, conduct, draw
from layerpeel.experiments.drawing import _figures
from layerpeel.problem.objective import features

SMALL = {"classes": "4", "depths": "3,4", "scales": "0.3", "seeds": 6}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "deep-features"
    conduct(DeepFeatures(**SMALL), folder, progress=False)
    return lp.read_record(folder)


def test_the_least_of_four_classes_is_collapse_and_from_depth_4_on_the_pairs(kept):
    of_4 = kept.metrics.sel(classes=4)
    np.testing.assert_allclose(of_4["value"].min("start"), of_4["blocks"], rtol=1e-9)
    assert of_4["block_size"].values.tolist() == [4, 2]
    deepest = of_4.sel(depth=4)
    assert float(deepest["value"].min()) == pytest.approx(0.00187964, abs=5e-9)
    assert float(deepest["etf"]) == pytest.approx(0.00202622, abs=5e-9)
    assert int(deepest["rank"][int(deepest["value"].values.argmin())]) == 2
    assert float(of_4["threshold"]) == pytest.approx(3.4190, abs=5e-5)


def test_deep_models_have_minima_that_are_not_the_least(kept):
    """Collapse above the pairs at depth 4, the pairs above collapse at depth 3."""
    values = {F: np.unique(np.round(kept.metrics.sel(classes=4, depth=F)["value"], 8)) for F in (3, 4)}
    assert values[3].tolist() == [0.00222487, 0.00228581]
    assert values[4].tolist() == [0.00187964, 0.00202622]


def test_below_every_block_state_of_ten_classes_lies_the_code_of_petersens_graph():
    problem = lp.deep_ufm(10, 1, 10, 4, 1e-4)
    minima = [minimise(problem, problem.init(seed, scale=0.3)) for seed in range(6)]
    blocks = min(optimum.value for optimum in lp.deep_blocks(problem).values())
    assert problem.optimum().value == blocks
    petersen = min(minima, key=lambda minimum: abs(minimum.value - 0.004648295))
    assert petersen.value == pytest.approx(0.004648295, abs=1e-9)
    assert petersen.value < blocks * 0.97
    assert problem.objective(petersen.state) == pytest.approx(petersen.value, rel=1e-13)
    Z = petersen.state.W @ features(petersen.state)
    s = np.linalg.svd(Z, compute_uv=False)
    np.testing.assert_allclose(s[:4], s[0], rtol=1e-4)
    assert s[4] < 1e-3 * s[0]
    cosines = np.sort(Z / np.diag(Z), axis=0)
    np.testing.assert_allclose(cosines[:3], -2 / 3, atol=1e-4)
    np.testing.assert_allclose(cosines[3:9], 1 / 6, atol=1e-4)


def test_the_table_says_what_was_found(kept):
    assert "pairs beat neural collapse iff F > 3.4190" in kept.summary["text"]
    assert "18.796415 [ 2]  the blocks" in kept.summary["text"]


def test_it_is_drawn_from_the_record_alone(kept, tmp_path):
    assert [path.name for path in draw(kept, tmp_path)] == ["deep-features.png"]
    (ax,) = _figures(kept)["deep-features"].axes
    of_4 = kept.metrics.sel(classes=4)
    collapse, blocks, threshold = ax.get_lines()
    assert set(collapse.get_ydata()) == {1.0}
    np.testing.assert_array_equal(blocks.get_xydata().T, [of_4["depth"], of_4["blocks"] / of_4["etf"]])
    assert set(threshold.get_xdata()) == {float(of_4["threshold"])}
    dots = {tuple(dot) for found in ax.collections for dot in found.get_offsets()}
    least = (of_4["value"].min("start") / of_4["etf"]).values
    assert {(3.0, float(least[0])), (4.0, float(least[1]))} <= dots


@pytest.mark.parametrize("wrong", [{"depths": "1"}, {"classes": ""}, {"seeds": 0}, {"d": 2}, {"lam": 0.0}], ids=str)
def test_impossible_settings_get_a_sentence(wrong, tmp_path):
    with pytest.raises(ValueError, match=r"^need "):
        DeepFeatures(**SMALL | wrong).run(tmp_path / "checkpoint", progress=False)


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (lp.ufm(4, 1, 4, 1e-4, 1e-4), "need a deep model, depth >= 3"),
        (lp.deep_ufm(4, [1, 2, 1, 1], 4, 3, 1e-4), "need a deep model, .* equal class sizes"),
        (lp.deep_ufm(4, 1, 4, 3, 1e-4, loss=lp.SquaredError()), "need a deep model, .* cross-entropy"),
        (lp.Problem(4, 1, 4, depth=3), "need a deep model with a weight on every factor"),
    ],
    ids=["two factors", "unequal", "squared", "no weights"],
)
def test_blocks_of_another_model_are_refused(problem, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        lp.deep_blocks(problem)
