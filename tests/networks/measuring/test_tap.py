"""The tap sees what enters the head, through every wrapper, and leaves the model as it was."""

import gc
import weakref

import numpy as np
import pytest
import torch
import torch.distributed
from torch import nn

import layerpeel as lp
from layerpeel.networks.measuring.tap import FeatureTap
from layerpeel.networks.models.etf_classifier import ETFClassifier


class Net(nn.Module):
    """A body, a head that is called with a keyword, and the features as a second output to compare with."""

    def __init__(self, head=None):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
        self.head = head or nn.Linear(6, 3)

    def forward(self, x):
        h = self.body(x)
        return self.head(input=h) if isinstance(self.head, nn.Linear) else self.head(h), h


class Shared(nn.Module):
    """One head for every step of a sequence."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return [self.head(step) for step in x.unbind(1)]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def x():
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def hooks(model):
    return [hook for module in model.modules() for hook in module._forward_pre_hooks]


def fail_inside(tap, model, x):
    with tap:
        model(x)
        raise KeyError("an error of the user")


def called_before(compiled, x):
    compiled(x)
    return compiled


def compiled_in_place(model, x, backend="eager"):
    model.compile(backend=backend)
    model(x)
    return model


def with_compiled_body(model, x):
    model.body = torch.compile(model.body, backend="eager")
    model(x)
    return model


def with_compiled_head(model, x):
    model.head = torch.compile(nn.Linear(6, 3), backend="eager")
    model(x)
    return model


WRAPPERS = {
    "plain": lambda model, x: model,
    "DataParallel": lambda model, x: nn.DataParallel(model),
    "compiled": lambda model, x: torch.compile(model, backend="eager"),
    "compiled and called": lambda model, x: called_before(torch.compile(model, backend="eager"), x),
    "compiled whole and called": lambda model, x: called_before(
        torch.compile(model, backend="eager", fullgraph=True, dynamic=True), x
    ),
    "compiled in place and called": compiled_in_place,
    "compiled body": with_compiled_body,
    "compiled head": with_compiled_head,
    "compiled DataParallel": lambda model, x: called_before(torch.compile(nn.DataParallel(model), backend="eager"), x),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_features_are_what_enters_the_head_however_the_model_is_wrapped(model, x, wrap):
    wrapped = wrap(model, x)
    for scale in (1, 2):  # the second time, the first tap has come and gone
        with FeatureTap(wrapped) as tap:
            _, h = wrapped(scale * x)
            assert torch.equal(tap.features, h)
            assert tap.calls == 1
        assert not hooks(model)


@pytest.mark.parametrize("compiled", [False, True])
def test_features_are_seen_under_distributed_data_parallel(process_group, model, x, compiled):
    wrapped = nn.parallel.DistributedDataParallel(model)
    if compiled:
        wrapped = called_before(torch.compile(wrapped, backend="eager"), x)
    with FeatureTap(wrapped) as tap:
        logits, h = wrapped(x)
        assert torch.equal(tap.features, h)
        assert tap.name == "head"
        logits.sum().backward()
    assert not hooks(model)
    assert model.head.weight.grad is not None


@pytest.mark.slow
def test_features_are_seen_in_a_model_that_inductor_compiled(model, x):
    wrapped = called_before(torch.compile(model), x)
    with FeatureTap(wrapped) as tap:
        _, h = wrapped(x)
        assert torch.equal(tap.features, h)


def test_a_function_compiled_around_the_model_is_seen_too(model, x):
    step = torch.compile(lambda x: model(x)[0], backend="eager")
    step(x)
    with FeatureTap(model) as tap:
        step(x)
        assert torch.equal(tap.features, model.body(x))


def test_the_tap_compiles_nothing_anew(model, x):
    graphs = []

    def counting(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=counting)
    compiled(x)
    before = len(graphs)
    with FeatureTap(compiled):
        compiled(x)
    compiled(x)
    assert len(graphs) == before == 1


def test_a_model_spread_over_devices_runs_on_the_first_inside_the_tap(model):
    spread = nn.DataParallel(model)
    spread.device_ids = [0, 1]  # as on a machine with two; its copies would each see a part of the batch
    with FeatureTap(spread):
        assert spread.device_ids == [0]
    assert spread.device_ids == [0, 1]


def test_the_last_of_several_calls_counts(x):
    model = Shared()
    sequence = torch.stack([x, 2 * x, 3 * x], dim=1)
    with FeatureTap(model) as tap:
        model(sequence)
        assert tap.calls == 3
        assert torch.equal(tap.features, 3 * x)
        model(sequence[:, :2])
        assert tap.calls == 5
        assert torch.equal(tap.features, 2 * x)
    with tap:
        assert tap.calls == 0


@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 7, 4), (0, 4)])
def test_features_keep_their_shape(shape):
    with FeatureTap(nn.Sequential(nn.Linear(4, 3))) as tap:
        tap.head(torch.ones(shape))
        assert tap.features.shape == shape


def test_features_keep_dtype_under_autocast_and_have_no_gradient(model, x):
    with FeatureTap(model) as tap, torch.autocast("cpu", torch.bfloat16):
        _, h = model(x)
        assert tap.features.dtype == h.dtype == torch.bfloat16
        assert h.requires_grad
        assert not tap.features.requires_grad
        assert not tap.classifier.requires_grad
        assert not tap.bias.requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_features_are_seen_without_gradients(model, x, mode):
    with mode(), FeatureTap(model) as tap:
        _, h = model(x)
        assert torch.equal(tap.features, h)


def test_a_hook_of_the_user_comes_first_as_its_result_is_what_enters(model, x):
    model.head.register_forward_pre_hook(
        lambda head, args, kwargs: (args, {"input": 2 * kwargs["input"]}), with_kwargs=True
    )
    with FeatureTap(model) as tap:
        _, h = model(x)
        assert torch.equal(tap.features, 2 * h)
    assert len(hooks(model)) == 1


def test_no_hook_stays_when_the_model_or_the_body_of_the_tap_fails(model, x):
    with pytest.raises(RuntimeError, match="cannot be multiplied"), FeatureTap(model):
        model(x[:, :2])
    assert not hooks(model)
    tap = FeatureTap(model)
    with pytest.raises(KeyError, match="an error of the user"):
        fail_inside(tap, model, x)
    assert not hooks(model)
    with tap:  # and it opens again
        model(x)
        assert tap.calls == 1


def test_nothing_stays_when_opening_fails(model, monkeypatch):
    tap = FeatureTap(nn.DataParallel(model))
    tap._model.device_ids = [0, 1]

    def refuse(*args, **kwargs):
        raise RuntimeError("no hook today")

    monkeypatch.setattr(model.head, "register_forward_pre_hook", refuse)
    with pytest.raises(RuntimeError, match="no hook today"), tap:
        pass
    assert tap._model.device_ids == [0, 1]
    monkeypatch.undo()
    with tap:
        assert len(hooks(model)) == 1


def test_compiled_code_runs_again_after_the_tap_also_after_an_error(model, x):
    calls = []

    def counting(graph, inputs):
        def run(*args):
            calls.append(1)
            return graph.forward(*args)

        return run

    compiled = called_before(torch.compile(model, backend=counting), x)
    with pytest.raises(KeyError, match="an error of the user"):
        fail_inside(FeatureTap(compiled), compiled, x)
    assert len(calls) == 1
    compiled(x)
    assert len(calls) == 2


def test_taps_nest_and_each_sees_its_own_head(model, x):
    with FeatureTap(model) as outer, FeatureTap(model, "body.0") as inner:
        _, h = model(x)
        assert torch.equal(outer.features, h)
        assert torch.equal(inner.features, x)
    with FeatureTap(model) as outer:
        with FeatureTap(model) as inner:
            model(x)
        model(x)
        assert (outer.calls, inner.calls) == (2, 1)
    assert not hooks(model)


def test_a_tap_is_open_once_at_a_time(model, x):
    with FeatureTap(model) as tap:
        with pytest.raises(ValueError, match="need a tap that is not open, got one entered twice"), tap:
            pass
        _, h = model(x)
        assert torch.equal(tap.features, h)
    assert not hooks(model)


def test_features_are_not_kept_alive_after_the_tap(model, x):
    with FeatureTap(model) as tap:
        model(x)
        alive = weakref.ref(tap._features)
    gc.collect()
    assert alive() is None


def test_without_a_call_of_the_head_there_are_no_features(model, x):
    tap = FeatureTap(model)
    with pytest.raises(ValueError, match=r"need a forward pass through the head 'head' .*, got a tap that is not open"):
        _ = tap.features
    with tap:
        model.body(x)
        with pytest.raises(ValueError, match="inside the tap, got no call of it yet"):
            _ = tap.features
    with pytest.raises(ValueError, match="got a tap that is not open"):
        _ = tap.features


def test_a_head_called_without_a_tensor_is_refused():
    class Careless(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 3))

        def forward(self, *, rows):
            return torch.tensor(rows) @ self.weight.T

    model = nn.Sequential(Careless())
    with FeatureTap(model, "0"), pytest.raises(ValueError, match="need a head that is called with a tensor"):
        model[0](rows=[[1.0, 2.0, 3.0]])


def test_a_model_without_a_linear_layer_is_refused():
    with pytest.raises(ValueError, match="need a model with a linear layer, got none in Conv2d"):
        FeatureTap(nn.Conv2d(1, 2, 3))


@pytest.mark.parametrize(
    "head", [None, ETFClassifier(6, 3), nn.Linear(6, 3, bias=False)], ids=["Linear", "ETF", "unbiased"]
)
def test_the_tap_hands_the_measurement_all_that_it_needs(head, x):
    torch.manual_seed(0)
    model = Net(head)
    labels = torch.tensor([0, 1, 2, 0, 1])
    with FeatureTap(model) as tap:
        logits, h = model(x)
        report = lp.measure(tap.features, labels, classifier=tap.classifier, bias=tap.bias)
        again = tap.features @ tap.classifier.T + (0 if tap.bias is None else tap.bias)
        torch.testing.assert_close(again, logits.detach())
    bias = None if getattr(model.head, "bias", None) is None else model.head.bias.detach().numpy()
    expected = lp.measure(h.detach().numpy(), labels.numpy(), classifier=model.head.weight.detach().numpy(), bias=bias)
    for name, value in expected.asdict().items():
        np.testing.assert_allclose(report.asdict()[name], value, rtol=1e-6, err_msg=name)
