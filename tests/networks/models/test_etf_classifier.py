"""The fixed head is a simplex ETF, stays one, costs nothing to train, and loses no training accuracy."""

import pickle

import pytest
import torch
from torch import nn

from layerpeel.frames import etf_distance
from layerpeel.networks.data.image_set import digits
from layerpeel.networks.models.etf_classifier import ETFClassifier


@pytest.mark.parametrize(("d", "K"), [(1, 2), (3, 4), (16, 10), (64, 10)])
def test_rows_are_a_simplex_etf_of_the_given_norm(d, K):
    for scale in (1.0, 2.5):
        weight = ETFClassifier(d, K, scale=scale).weight.double()
        assert etf_distance(weight.T.numpy(), centred=False) < 1e-6
        torch.testing.assert_close(weight.norm(dim=1), torch.full((K,), scale, dtype=torch.float64))
        cosines = (weight @ weight.T / scale**2)[~torch.eye(K, dtype=torch.bool)]
        torch.testing.assert_close(cosines, torch.full_like(cosines, -1 / (K - 1)), rtol=0, atol=1e-6)


def test_the_seed_turns_the_frame_and_leaves_torch_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, same, other = ETFClassifier(8, 5), ETFClassifier(8, 5, seed=0), ETFClassifier(8, 5, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.weight, same.weight)
    assert not torch.allclose(first.weight, other.weight, atol=0.1)


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 3, 6), (0, 6)])
def test_logits_are_inner_products_with_the_rows(shape):
    head, h = ETFClassifier(6, 4), torch.randn(shape, generator=torch.Generator().manual_seed(0))
    logits = head(h)
    assert logits.shape == (*shape[:-1], 4)
    torch.testing.assert_close(logits, torch.einsum("...d,kd->...k", h, head.weight))


def test_no_optimiser_can_change_it_and_gradients_pass_through_it():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), ETFClassifier(6, 4))
    before = model[1].weight.clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9, weight_decay=0.5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        model(torch.randn(7, 5, generator=generator)).square().sum().backward()
        optimizer.step()
    assert list(model[1].parameters()) == []
    assert model[1].weight.grad is None
    assert torch.equal(model[1].weight, before)
    assert model[0].weight.grad.abs().sum() > 0


def test_a_checkpoint_brings_its_own_frame():
    saved, other = ETFClassifier(8, 5, seed=3, scale=2.0), ETFClassifier(8, 5)
    other.load_state_dict(saved.state_dict())
    assert torch.equal(other.weight, saved.weight)
    assert torch.equal(pickle.loads(pickle.dumps(saved)).weight, saved.weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_it_follows_the_dtype_of_its_model(dtype):
    head = ETFClassifier(16, 10).to(dtype)
    assert head.weight.dtype == dtype
    assert head(torch.ones(2, 16, dtype=dtype)).dtype == dtype
    assert etf_distance(head.weight.double().T.numpy()) < {torch.bfloat16: 1e-2}.get(dtype, 1e-3)


def test_it_is_built_in_the_default_dtype():
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        assert etf_distance(ETFClassifier(16, 10).weight.T.numpy()) < 1e-14
    finally:
        torch.set_default_dtype(before)


def fitted(head, *, steps=500):
    """A perceptron with this head on 300 digits: the model, its optimiser and its accuracy on them."""
    torch.manual_seed(0)
    sample = digits().subset(300)
    pixels, labels = torch.from_numpy(sample.train_pixels()), torch.from_numpy(sample.train_labels)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), head)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    accuracy = (model(pixels).argmax(dim=1) == labels).float().mean().item()
    return model, optimizer, accuracy


def trained_numbers(model, optimizer):
    """Parameters, gradients and velocities."""
    parameters = list(model.parameters())
    velocities = [state["momentum_buffer"] for state in optimizer.state.values()]
    return sum(tensor.numel() for tensor in (*parameters, *(p.grad for p in parameters), *velocities))


def test_it_reaches_the_accuracy_of_a_learned_head_with_less_memory():
    *learned, accuracy = fitted(nn.Linear(32, 10))
    *fixed, fixed_accuracy = fitted(ETFClassifier(32, 10))
    assert accuracy == fixed_accuracy == 1.0
    assert trained_numbers(*learned) - trained_numbers(*fixed) == 3 * 10 * 33
    assert sum(buffer.numel() for buffer in fixed[0].buffers()) == 10 * 32


def test_it_says_what_it_is():
    assert str(ETFClassifier(8, 5, seed=2)) == "ETFClassifier(num_features=8, num_classes=5, seed=2, scale=1.0)"


@pytest.mark.parametrize(
    ("d", "K", "options", "sentence"),
    [
        (8, 10, {}, "need d >= K-1 = 9 for a simplex ETF of K=10 vectors, got d=8"),
        (8, 1, {}, "need K >= 2, got K=1"),
        (8, 3, {"scale": 0.0}, "need a positive norm, got norm=0.0"),
    ],
)
def test_what_is_no_simplex_etf_is_refused(d, K, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ETFClassifier(d, K, **options)
