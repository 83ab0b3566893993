"""Training is plain SGD on fixed samples, its records are those of the network, and it leaves torch as it was."""

import re
from dataclasses import replace

import mpmath
import numpy as np
import pytest
import torch
from networks.training.tiny_training import K, normalised, tiny_images, tiny_network, tiny_plan
from torch.nn import functional

import layerpeel as lp
from layerpeel.collapse import preset
from layerpeel.networks.measuring.feature_batches import FeatureBatches
from layerpeel.networks.training.criterion import log_losses, training_loss
from layerpeel.networks.training.plan import Plan
from layerpeel.networks.training.resident import epoch_order
from layerpeel.networks.training.train import train
from layerpeel.networks.training.trainee import Trainee

IMAGES = tiny_images()


def run(plan=None, **options):
    return train(IMAGES, tiny_network, plan or tiny_plan(), **options)


def by_hand(plan, *, seed, loss):
    """The definition of the method, one line at a time."""
    torch.manual_seed(seed)
    model = tiny_network().double()
    x, y = normalised(IMAGES, IMAGES.train_images), torch.from_numpy(IMAGES.train_labels)
    velocity = [torch.zeros_like(p) for p in model.parameters()]
    for epoch in range(1, plan.epochs + 1):
        order = np.random.default_rng([seed, epoch]).permutation(len(y))
        for batch in np.array_split(order, -(-len(y) // plan.batch)):
            gradients = torch.autograd.grad(loss(model(x[batch]), y[batch]), list(model.parameters()))
            with torch.no_grad():
                for p, g, v in zip(model.parameters(), gradients, velocity, strict=True):
                    v.mul_(plan.momentum).add_(g + plan.weight_decay * p)
                    p -= plan.rate(epoch) * v
    return model.state_dict()


def one_hot_errors(z, y):
    return ((z - torch.eye(K, dtype=z.dtype)[y]) ** 2).sum() / z.numel()


def smoothed_cross_entropy(z, y):
    targets = 0.9 * torch.eye(K, dtype=z.dtype)[y] + 0.1 / K
    return -(targets * z.log_softmax(1)).sum(1).mean()


@pytest.mark.parametrize(
    ("settings", "loss"),
    [
        ({}, functional.cross_entropy),
        ({"weight_decay": 0.01, "momentum": 0.5, "schedule": "cosine"}, functional.cross_entropy),
        ({"loss": "mse", "schedule": "step"}, one_hot_errors),
        ({"label_smoothing": 0.1, "channels_last": False}, smoothed_cross_entropy),
    ],
    ids=["paper", "decay", "mse", "smoothing"],
)
def test_training_is_the_method_written_out(settings, loss):
    plan = tiny_plan(precision="float64", **settings)
    expected = by_hand(plan, seed=3, loss=loss)
    found = run(plan, seeds=[3]).weights
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-12)


def test_the_last_record_is_the_network_measured_by_hand():
    done = run(seeds=[1], record=3)
    model = tiny_network().eval()
    model.load_state_dict(done.weights)
    record = done.metrics.isel(seed=0, record=-1)
    for grey, labels, prefix in (
        (IMAGES.train_images, IMAGES.train_labels, "train"),
        (IMAGES.test_images, IMAGES.test_labels, "test"),
    ):
        with torch.no_grad():
            features = model[:-1](normalised(IMAGES, grey, torch.float32))
            logits = model[-1](features).double()
        loss = float(functional.cross_entropy(logits, torch.from_numpy(labels)))
        assert float(record["loss" if prefix == "train" else "test_loss"]) == pytest.approx(loss, rel=1e-6)
        assert float(record[f"{prefix}_accuracy"]) == (logits.argmax(1).numpy() == labels).mean()
        if prefix == "train":
            head = {"classifier": model[-1].weight.detach(), "bias": model[-1].bias.detach()}
            expected = lp.measure(features, labels, **head).asdict()
            found = {name: float(record[name]) for name in expected}
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
            means = [features[labels == k].double().mean(0).numpy() for k in range(K)]
            np.testing.assert_allclose(done.head["means"], means, rtol=1e-5)
    np.testing.assert_array_equal(done.head["classifier"], done.weights["6.weight"].double().numpy())
    assert float(record.log_loss) == pytest.approx(np.log(float(record.loss)))


def test_the_first_record_is_the_untrained_network():
    untrained = run(tiny_plan(learning_rate=1e-30), record=[0, 1]).metrics
    trained = run(record=[0, 1]).metrics
    assert trained.step.values.tolist() == [0, 1, 6]
    assert trained.isel(record=0).drop_vars("seed").identical(untrained.isel(record=0).drop_vars("seed"))
    assert float(trained.loss[0, 1]) < float(untrained.loss[0, 1])


def test_seeds_are_runs_of_their_own():
    together = run(seeds=[4, 7], record=4).metrics
    for seed in (4, 7):
        alone = run(seeds=[seed], record=4).metrics
        assert alone.identical(together.sel(seed=[seed]))


def test_a_convention_of_your_own_measures_as_the_named_one_it_equals_and_an_unknown_name_is_refused(tmp_path):
    named = run(tiny_plan(epochs=1), record=[0], preset="papyan2020", checkpoint=tmp_path / "named")
    known = run(tiny_plan(epochs=1), record=[0], preset=preset("papyan2020"), checkpoint=tmp_path / "named")
    assert known.metrics.identical(named.metrics)
    mine = replace(preset("papyan2020"), ddof=0)
    other = run(tiny_plan(epochs=1), record=[0], preset=mine, checkpoint=tmp_path / "mine").metrics
    expected = named.metrics.mean_norm_variation * np.sqrt((K - 1) / K)
    np.testing.assert_allclose(other.mean_norm_variation, expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"of this very run, got one with another preset$"):
        run(tiny_plan(epochs=1), record=[0], preset=mine, checkpoint=tmp_path / "named")
    with pytest.raises(ValueError, match=r"^need a preset out of ji2022, "):
        run(preset="mine")


def test_features_too_many_to_keep_are_walked_again_to_the_same_record(monkeypatch):
    kept = run(record=[3]).metrics
    monkeypatch.setattr(FeatureBatches, "kept", lambda walk: walk)
    assert run(record=[3]).metrics.identical(kept)


def test_records_are_made_in_float32_whatever_training_is_in():
    plain, half = run(record=[0]).metrics, run(tiny_plan(precision="bfloat16"), record=[0]).metrics
    assert half.isel(record=0).identical(plain.isel(record=0))
    assert float(half.loss[0, 1]) == pytest.approx(float(plain.loss[0, 1]), rel=0.3)
    assert not half.isel(record=1).identical(plain.isel(record=1))


def test_every_epoch_has_an_order_of_its_own():
    orders = [epoch_order(50, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (1, 2)]
    assert all(order.sort().values.equal(torch.arange(50)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert orders[0].equal(epoch_order(50, seed=0, epoch=1))


@pytest.mark.parametrize(("batch", "sizes"), [(16, [15, 15, 15, 16]), (60, [30, 31]), (61, [61]), (128, [61])], ids=str)
def test_an_epoch_takes_every_sample_once_in_batches_nearly_equal(monkeypatch, batch, sizes):
    step, batches = Trainee._step, []

    def stepping(trainee, rows, *rest):
        batches.append(rows.clone())
        return step(trainee, rows, *rest)

    monkeypatch.setattr(Trainee, "_step", stepping)
    run(tiny_plan(batch=batch, epochs=2), record=[0])
    for epoch in (batches[: len(sizes)], batches[len(sizes) :]):
        assert sorted(map(len, epoch)) == sizes
        assert torch.cat(epoch).sort().values.equal(torch.arange(61))


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", {1: 1.0, 300: 1.0, 600: 1.0}),
        ("cosine", {1: 1.0, 151: 0.5 + 0.5**1.5, 301: 0.5, 600: 6.854e-6}),
        ("step", {1: 1.0, 200: 1.0, 201: 0.1, 400: 0.1, 401: 0.01, 600: 0.01}),
    ],
)
def test_the_rate_follows_its_schedule(schedule, rates):
    plan = Plan(epochs=600, learning_rate=1.0, schedule=schedule)
    assert {epoch: plan.rate(epoch) for epoch in rates} == pytest.approx(rates, rel=1e-3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("lead", [-800.0, -3.0, 0.0, 20.0, 100.0, 700.0, 2000.0])
def test_the_logarithm_of_the_loss_never_underflows(lead, smoothing):
    logits = torch.tensor([[1.0, 1.0 + lead, -2.0]], dtype=torch.float64)
    with mpmath.workdps(1000):
        z = [mpmath.mpf(float(value)) for value in logits[0]]
        log_total = mpmath.log(sum(map(mpmath.exp, z)))
        targets = [(1 - smoothing) * (k == 1) + mpmath.mpf(smoothing) / 3 for k in range(3)]
        exact = mpmath.log(sum(t * (log_total - value) for t, value in zip(targets, z, strict=True)))
    found = log_losses(logits, torch.tensor([1]), kind="cross-entropy", label_smoothing=smoothing)
    assert float(found) == pytest.approx(float(exact), rel=1e-13)


@pytest.mark.parametrize(("kind", "smoothing"), [("cross-entropy", 0.0), ("cross-entropy", 0.2), ("mse", 0.0)])
def test_the_recorded_loss_is_the_one_trained_on(kind, smoothing):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, K, generator=generator, dtype=torch.float64)
    labels = torch.randint(K, (40,), generator=generator)
    mean = log_losses(logits, labels, kind=kind, label_smoothing=smoothing).exp().mean()
    torch.testing.assert_close(mean, training_loss(kind, smoothing)(logits, labels), rtol=1e-12, atol=0)


class Explosive(torch.nn.Module):
    """Features that are finite for so many evaluations only."""

    def __init__(self, evaluations):
        super().__init__()
        self.left = evaluations

    def forward(self, x):
        self.left -= not self.training
        return x if self.training or self.left >= 0 else x / 0


def explosive(evaluations):
    return torch.nn.Sequential(torch.nn.Flatten(), Explosive(evaluations), torch.nn.Linear(16, K))


@pytest.mark.parametrize(
    ("build", "plan", "sentence", "records"),
    [
        (
            tiny_network,
            tiny_plan(learning_rate=1e30),
            r"seed 0, epoch \d: (the training loss is|\S+ of the network has) (nan|inf)",
            1,
        ),
        (lambda: explosive(4), tiny_plan(), "seed 0, epoch 2: the features of 61 training samples have nan or inf", 2),
    ],
    ids=["loss", "features"],
)
def test_leaving_the_finite_numbers_is_an_outcome_and_keeps_what_came_before(build, plan, sentence, records):
    done = train(IMAGES, build, plan, record=[0, 1, 2, 3])
    assert done.outcome is lp.Outcome.NONFINITE
    assert done.sentence.endswith(str(lp.Outcome.NONFINITE))
    assert re.match(sentence, done.sentence)
    assert done.metrics.sizes["record"] == records
    assert np.isfinite(done.metrics.loss).all()
    assert all(bool(value.isfinite().all()) for value in done.weights.values())


def test_a_seed_that_diverges_leaves_the_others_alone(monkeypatch):
    from layerpeel.networks.training import trainee

    whole = run(seeds=[0, 2], record=4).metrics

    def check(self, loss):
        if self.seed == 1:
            raise trainee.NotFinite("the training loss is inf")

    monkeypatch.setattr(trainee.Trainee, "_check", check)
    done = run(seeds=[0, 1, 2], record=4)
    assert done.outcome is lp.Outcome.NONFINITE
    assert np.isnan(done.metrics.loss.sel(seed=1)[1:]).all()
    assert done.metrics.sel(seed=[0, 2]).identical(whole)


def test_torch_is_left_as_it_was():
    def switches():
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.get_rng_state().tolist(),
        )

    before = switches()
    for settings in ({}, {"deterministic": False, "precision": "tf32"}, {"precision": "float64"}):
        run(tiny_plan(epochs=1, **settings), record=[0])
        assert switches() == before


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epochs": 0}, "need 1 <= epochs <= 1,000,000,000, got epochs=0"),
        ({"batch": 0}, "need 1 <= batch <= 1,000,000,000, got batch=0"),
        ({"learning_rate": 0.0}, "need a finite learning_rate > 0, got learning_rate=0.0"),
        ({"learning_rate": float("nan")}, "need a finite learning_rate > 0, got learning_rate=nan"),
        ({"weight_decay": -1.0}, "need a finite weight_decay >= 0, got weight_decay=-1.0"),
        ({"momentum": 1.0}, "need 0 <= momentum < 1, got momentum=1.0"),
        ({"label_smoothing": 1.0}, "need 0 <= label_smoothing < 1, got label_smoothing=1.0"),
        ({"loss": "mse", "label_smoothing": 0.1}, "need the cross-entropy loss for label smoothing, got mse"),
        ({"loss": "hinge"}, "need loss to be one of cross-entropy, mse, got 'hinge'"),
        ({"schedule": "magic"}, "need schedule to be one of constant, cosine, step, got 'magic'"),
        ({"precision": "int8"}, "need precision to be one of float32, tf32, bfloat16, float64, got 'int8'"),
        ({"device": "tpu"}, "need device to be one of auto, cpu, cuda, got 'tpu'"),
    ],
    ids=str,
)
def test_impossible_plans_are_one_sentence(settings, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        Plan(**settings)


def test_impossible_runs_are_one_sentence():
    with pytest.raises(ValueError, match=r"^need at least one seed, got none$"):
        run(seeds=[])
    with pytest.raises(ValueError, match=r"^need recorded steps between 0 and 6"):
        run(record=[7])
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"^need a CUDA device that torch can use, got none"):
            run(tiny_plan(device="cuda"))


@pytest.mark.slow
def test_compiled_training_is_the_same_up_to_rounding():
    plain, compiled = (run(tiny_plan(precision="float64", compile=made)).metrics for made in (False, True))
    for name in plain:
        np.testing.assert_allclose(compiled[name], plain[name], rtol=1e-8, atol=1e-10, err_msg=str(name))
