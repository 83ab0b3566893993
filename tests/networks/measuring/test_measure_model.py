"""A model is measured as its features are, and is left as it was."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import layerpeel as lp
from layerpeel.torch import FeatureBatches, measure_model

K, D, N = 4, 8, 60


class Pair(NamedTuple):
    """A batch with names."""

    x: torch.Tensor
    y: torch.Tensor


class Net(nn.Module):
    """Batch norm, dropout and two linear layers, the last of them the head."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, D), nn.BatchNorm1d(D), nn.ReLU(), nn.Dropout(0.5))
        self.fc = nn.Linear(D, K)

    def forward(self, x):
        return self.fc(self.body(x))


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(N) % K
    return torch.randn(N, 6, generator=generator) + labels[:, None], labels


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Net()


def batches(data, size=17):
    x, y = data
    return [(x[i : i + size], y[i : i + size]) for i in range(0, N, size)]


def by_hand(model, x):
    model.eval()
    with torch.no_grad():
        features = model.body(x)
    model.train()
    return features


def test_the_report_is_that_of_the_features_in_eval_mode(model, data):
    x, y = data
    features = by_hand(model, x)
    expected = lp.measure(features, y, classifier=model.fc.weight, bias=model.fc.bias)
    report = measure_model(model, batches(data))
    assert report.asdict() == pytest.approx(expected.asdict(), rel=1e-6)
    assert (report.num_samples, report.dim, report.passes) == (N, D, 2)


def test_the_model_is_left_as_it_was(model, data):
    model.body[1].eval()  # frozen by its user
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    measure_model(model, batches(data))
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not model.fc._forward_pre_hooks
    assert torch.is_grad_enabled()


def test_also_when_its_features_are_refused(model, data):
    x, y = data
    x[20] = float("nan")
    with pytest.raises(ValueError, match="need finite features"):
        measure_model(model, batches((x, y)))
    assert model.training
    assert model.body.training
    assert not model.fc._forward_pre_hooks


def test_a_walk_too_large_to_keep_is_walked_twice(model, data):
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    walk = FeatureBatches(model, batches(data))
    assert isinstance(walk.kept(memory=10**6), list)
    assert len(calls) == 4
    assert walk.kept(memory=1000) is walk
    few = lp.measure(walk, classifier=walk.classifier, bias=walk.bias)
    assert len(calls) == 4 + 2 + 2 * 4  # it stops keeping at the second batch
    assert few.asdict() == measure_model(model, batches(data)).asdict()


def test_wrapped_models_dicts_and_batches_of_ones_own(model, data):
    class Named(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, pixels):
            return self.net(pixels)

    named = Named(model)
    expected = measure_model(model, batches(data)).asdict()
    dicts = [{"pixels": x, "labels": y} for x, y in batches(data)]
    assert measure_model(nn.DataParallel(named), dicts).asdict() == expected
    assert measure_model(torch.compile(model, backend="eager"), batches(data)).asdict() == expected

    def forward(batch):
        model(batch["x"])
        return batch["y"]

    own = [{"x": x, "y": y} for x, y in batches(data)]
    assert measure_model(model, own, forward=forward).asdict() == expected
    pairs = [Pair(x, y) for x, y in batches(data)]
    assert measure_model(model, pairs, forward=lambda pair: (model(pair.x), pair.y)[1]).asdict() == expected
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data), batch_size=13)
    assert measure_model(model, loader, num_classes=K).asdict() == pytest.approx(expected, rel=1e-6)


def test_tokens_are_samples_and_some_are_left_out():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(11, D), nn.Tanh(), nn.Linear(D, K))
    tokens, labels = torch.randint(0, 11, (9, 5)), torch.randint(0, K, (9, 5))
    labels[:, -1] = -100
    report = measure_model(model, [(tokens, labels)], ignore_index=-100)
    features = model[:2](tokens).reshape(-1, D)
    keep = (labels != -100).reshape(-1)
    expected = lp.measure(features[keep], labels.reshape(-1)[keep], classifier=model[2].weight, bias=model[2].bias)
    assert report.num_samples == 36
    assert report.asdict() == pytest.approx(expected.asdict(), rel=1e-10)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda model, parts: (nn.ReLU(), parts), "need a model with a linear layer, got none in ReLU"),
        (lambda model, parts: (model, iter(parts)), "need batches to walk again and again .* got list_iterator"),
        (lambda model, parts: (model, 7), "need batches to walk again and again .* got int"),
        (lambda model, parts: (model, [x for x, _ in parts]), r"need batches \(x, y\) or dicts with labels"),
        (lambda model, parts: (model, [(x, y.tolist()) for x, y in parts]), "need labels as a tensor .* got list"),
        (lambda model, parts: (model, [(x, y + 2) for x, y in parts]), "need labels 0 <= y < K = 4, got 5"),
    ],
    ids=["no linear", "iterator", "number", "no labels", "lists", "labels out of range"],
)
def test_what_cannot_be_measured_is_said(model, data, change, sentence):
    wrong, parts = change(model, batches(data))
    with pytest.raises(ValueError, match=sentence):
        measure_model(wrong, parts)


def test_no_batches_leave_nothing_defined(model):
    report = measure_model(model, [])
    assert report.num_samples == 0
    assert np.isnan(report.nc1)


def test_a_forward_may_tell_the_labels_from_the_features(model, data):
    shapes = []

    def forward(batch):
        model(batch[0])

        def labels(features):
            shapes.append(tuple(features.shape))
            return batch[1]

        return labels

    report = measure_model(model, batches(data), forward=forward)
    assert report == measure_model(model, batches(data))
    assert shapes == [(17, D), (17, D), (17, D), (9, D)]
