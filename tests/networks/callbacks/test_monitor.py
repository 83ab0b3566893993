"""CollapseMonitor in a plain loop: right numbers, nothing disturbed, nothing lost, bad input refused at the start."""

import errno
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from networks.ranks import run_ranks
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from layerpeel.collapse import measure
from layerpeel.experiments import draw
from layerpeel.networks.callbacks.monitor import CollapseMonitor
from layerpeel.networks.measuring.process_pool import ProcessPool
from layerpeel.outcome import Outcome
from layerpeel.records import read_record

K, N, D = 3, 45, 8


def samples():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(N) % K
    return torch.randn(N, 4, generator=generator) / 3 + 2 * torch.eye(4)[labels], labels


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, D), nn.BatchNorm1d(D), nn.ReLU(), nn.Dropout(0.2), nn.Linear(D, K))


def shuffled():
    return DataLoader(TensorDataset(*samples()), batch_size=10, shuffle=True, drop_last=True)


def train(model, epochs, after=lambda epoch, loss: None, loader=None):
    loader = shuffled() if loader is None else loader
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    for epoch in epochs:
        for x, y in loader:
            x = x + 0.01 * np.random.random()  # noqa: NPY002 as users' data sets do
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        after(epoch, loss.item())
    return model


def watched(folder=None, epochs=6, **options):
    model, loader = network(), shuffled()
    monitor = CollapseMonitor(model, loader, steps=epochs, folder=folder, record=5, **options)
    train(model, range(1, epochs + 1), lambda epoch, loss: monitor(epoch, loss=loss, test_accuracy=0.5), loader)
    return model, monitor


def by_hand(model):
    model = model.eval()
    x, y = samples()
    with torch.no_grad():
        return measure(model[:-1](x), y, classifier=model[-1].weight.detach(), bias=model[-1].bias.detach()).asdict()


def test_rows_hold_what_measure_says_of_all_samples_and_the_scalars():
    model, monitor = watched()
    assert monitor.metrics["step"].values.tolist() == [2, 3, 4, 6]
    assert monitor.metrics.sizes["seed"] == 1
    for name, value in by_hand(model).items():
        np.testing.assert_allclose(monitor.metrics[name].values[0, -1], value, rtol=1e-5, err_msg=name)
    assert monitor.metrics["test_accuracy"].values.tolist() == [[0.5] * 4]
    np.testing.assert_allclose(monitor.metrics["log_loss"], np.log(monitor.metrics["loss"]))


def test_training_takes_the_same_steps_with_the_monitor_and_without():
    np.random.seed(0)  # noqa: NPY002
    model, monitor = watched()
    np.random.seed(0)  # noqa: NPY002
    alone = train(network(), range(1, 7))
    assert len(monitor.rows) == 4
    assert all(module.training for module in model.modules())
    for name, value in alone.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_the_record_is_whole_after_every_measurement(tmp_path):
    model, loader, steps = network(), shuffled(), []
    monitor = CollapseMonitor(
        model, loader, steps=6, folder=tmp_path / "run", record=5, config={"lr": 0.3, "seed": None, "where": Path("x")}
    )
    for epoch in range(1, 7):
        if monitor(epoch, loss=1 / epoch):
            record = read_record(tmp_path / "run")
            steps.append(record.metrics["step"].values[-1])
            assert record.summary["outcome"]["name"] == ("COMPLETED" if epoch == 6 else "INTERRUPTED")
    assert steps == [2, 3, 4, 6]
    assert record.metrics.identical(monitor.metrics)
    assert record.config["model"] == "Sequential"
    assert record.config["training"] == {"lr": 0.3, "where": "x"}
    assert record.arrays["W"].shape == (1, K, D)
    assert 0 < record.summary["measuring_share"] < 1
    assert "to epoch 6" in record.summary["text"]


def test_a_folder_in_use_is_refused_before_the_training(tmp_path):
    watched(tmp_path)
    with pytest.raises(ValueError, match=r"resume=True to go on with the record in .*, got one in use"):
        CollapseMonitor(network(), shuffled(), steps=6, folder=tmp_path)


def test_a_resumed_training_replaces_the_rows_it_makes_again(tmp_path):
    _, before = watched(tmp_path)
    model = network()
    again = CollapseMonitor(model, shuffled(), steps=9, folder=tmp_path, record=[2, 4, 8], resume=True)
    train(model, range(4, 10), lambda epoch, loss: again(epoch, loss=loss))
    record = read_record(tmp_path)
    assert record.metrics["step"].values.tolist() == [2, 3, 4, 8, 9]
    np.testing.assert_array_equal(record.metrics["nc1"].values[0, :2], before.metrics["nc1"].values[0, :2])
    assert record.metrics["nc1"].values[0, 2] != before.metrics["nc1"].values[0, 2]
    assert np.isnan(record.metrics["test_accuracy"].values[0, 2:]).all()
    assert record.summary["measuring_seconds"] > 0


def test_a_record_of_another_network_is_not_resumed(tmp_path):
    watched(tmp_path)
    with pytest.raises(ValueError, match=r"need the run of the record in .* \(model='Sequential', head='4'\)"):
        CollapseMonitor(nn.Linear(4, K), shuffled(), steps=6, folder=tmp_path, resume=True)


def test_a_full_disk_is_a_warning_and_the_rows_come_with_the_next_write(tmp_path, monkeypatch):
    from layerpeel.networks.callbacks import journal

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monitor = CollapseMonitor(network(), shuffled(), steps=6, folder=tmp_path, record=[2, 4, 6])
    monitor(2)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "write_record", full)
        with pytest.warns(UserWarning, match=r"No space left on device.*2 rows are in memory"):
            monitor(4)
    assert read_record(tmp_path).metrics["step"].values.tolist() == [2]
    monitor(6)
    assert read_record(tmp_path).metrics["step"].values.tolist() == [2, 4, 6]


def test_features_that_are_not_finite_are_rows_of_nan_with_one_warning_and_draw(tmp_path):
    model = network()
    monitor = CollapseMonitor(model, shuffled(), steps=6, folder=tmp_path, record=[1, 2, 3, 6])
    monitor(1)
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan  # features, but not the head
    with pytest.warns(UserWarning, match="nan or inf at epoch 2"):
        monitor(2, loss=float("nan"))
    model[-1].weight.data.fill_(torch.inf)
    with warnings.catch_warnings(action="error"):  # the user has been told
        report = monitor(3)
    assert np.isnan(list(report.asdict().values())).all()
    record = read_record(tmp_path)
    assert record.summary["outcome"]["name"] == "NONFINITE"
    assert np.isfinite(record.metrics["nc1"].values[0]).tolist() == [True, False, False]
    assert [path.name for path in draw(record, tmp_path / "figures")] == ["collapse.png", "margin.png"]


def test_a_resumed_training_that_is_finite_again_is_no_longer_nonfinite(tmp_path):
    model = network()
    monitor = CollapseMonitor(model, shuffled(), steps=3, folder=tmp_path, record=[1, 2, 3])
    monitor(1)
    model[0].weight.data.fill_(torch.nan)
    with pytest.warns(UserWarning, match="nan or inf"):
        monitor(2)
    again = CollapseMonitor(network(), shuffled(), steps=3, folder=tmp_path, record=[1, 2, 3], resume=True)
    assert again.outcome is Outcome.NONFINITE
    again(2)
    again(3)
    assert read_record(tmp_path).summary["outcome"]["name"] == "COMPLETED"


def test_labels_out_of_range_in_a_later_batch_are_an_error_not_nan():
    x, y = samples()
    y[40] = 7
    monitor = CollapseMonitor(network(), [(x[:20], y[:20]), (x[20:], y[20:])], steps=6)
    with pytest.raises(ValueError, match="got 7 at index 20"):
        monitor.measure(1)


x, y = samples()
EMPTY = DataLoader(TensorDataset(x[:0], y[:0]), batch_size=4)


@pytest.mark.parametrize(
    ("model", "batches", "options", "sentence"),
    [
        (nn.Conv2d(1, 1, 1), [(x, y)], {}, "need a model with a linear layer"),
        (None, EMPTY, {}, "need batches to measure, got none"),
        (None, [], {}, "need batches to measure, got none"),
        (None, iter([(x, y)]), {}, "need batches to walk again and again"),
        (None, [(x, y + 1)], {}, "need labels 0 <= y < K = 3, got 3"),
        (None, [x], {}, "need batches .x, y."),
        (None, [(x, y)], {"head": "body"}, "got 'body'"),
        (None, [(x, y)], {"preset": "mine"}, "need a preset out of"),
        (None, [(x, y)], {"forward": lambda batch: batch[1]}, "inside the tap"),
    ],
    ids=["no-linear", "empty-loader", "empty", "one-shot", "labels", "no-labels", "head", "preset", "no-call"],
)
def test_bad_input_is_an_error_before_the_training(model, batches, options, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        CollapseMonitor(model or network(), batches, steps=6, folder=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_is_an_error_before_the_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"need a folder that can be written, got .*file/run"):
        CollapseMonitor(network(), [(x, y)], steps=6, folder=tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("scalars", "sentence"),
    [
        ({"margin": 1.0}, "need another name than 'margin'"),
        ({"loss": "low"}, "need loss to be a number, got str"),
        ({"loss": torch.ones(2)}, "need loss to be a number, got Tensor"),
    ],
)
def test_a_scalar_is_a_number_under_a_free_name(scalars, sentence):
    monitor = CollapseMonitor(network(), [(x, y)], steps=6)
    with pytest.raises(ValueError, match=sentence):
        monitor(2, **scalars)


def test_steps_only_go_forward():
    monitor = CollapseMonitor(network(), [(x, y)], steps=6)
    with pytest.raises(ValueError, match="need a measurement first"):
        _ = monitor.metrics
    monitor(4)
    with pytest.raises(ValueError, match="need steps that increase, got 2 after 4"):
        monitor(2)


def rank_of_a_training(rank, folder):
    model = nn.parallel.DistributedDataParallel(network())
    dataset = TensorDataset(*samples())
    loader = DataLoader(dataset, batch_size=10, sampler=DistributedSampler(dataset, shuffle=True))
    monitor = CollapseMonitor(model, loader, steps=4, folder=folder, record=[0, 2, 4], pool=ProcessPool())
    monitor(0)
    train(model, range(1, 5), lambda epoch, loss: monitor(epoch, loss=loss), loader)
    return monitor.rows, {name: value.numpy() for name, value in model.module.state_dict().items()}


def test_the_ranks_of_a_training_measure_all_samples_as_one_and_rank_0_writes(tmp_path):
    (rows, weights), (others, _) = run_ranks(2, rank_of_a_training, tmp_path / "run")
    assert [step for step, _ in rows] == [0, 2, 4]
    assert rows[0] == others[0]
    record = read_record(tmp_path / "run")
    np.testing.assert_array_equal(record.metrics["nc1"].values[0], [fields["nc1"] for _, fields in rows])
    model = network()
    model.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    for name, value in by_hand(model).items():
        np.testing.assert_allclose(rows[-1][1][name], value, rtol=1e-5, atol=1e-12, err_msg=name)


def test_a_refused_amendment_leaves_the_row_and_there_must_be_one():
    model, parts = nn.Linear(3, 2), [(torch.eye(3)[[0, 1, 0, 1]], torch.tensor([0, 1, 0, 1]))]
    monitor = CollapseMonitor(model, parts, steps=4)
    with pytest.raises(ValueError, match="need a measurement to amend, got none yet"):
        monitor.amend(loss=0.5)
    monitor(1, loss=0.25)
    before = monitor.rows
    for wrong in ({"margin": 1.0}, {"loss": "0.5"}):
        with pytest.raises(ValueError, match="need"):
            monitor.amend(**wrong)
    assert repr(monitor.rows) == repr(before)
    monitor.amend(test_accuracy=torch.tensor(0.5, requires_grad=True))
    assert monitor.rows[-1][1]["test_accuracy"] == 0.5


def test_truth_values_are_numbers_and_text_is_not():
    monitor = CollapseMonitor(network(), [(x, y)], steps=6)
    monitor.measure(1, frozen=True, warm=False)
    assert (monitor.rows[-1][1]["frozen"], monitor.rows[-1][1]["warm"]) == (1.0, 0.0)
    for text in ("0.5", b"0.5"):
        with pytest.raises(ValueError, match="need loss to be a number, got"):
            monitor.measure(2, loss=text)
    assert monitor.last_step == 1


def test_a_record_stopped_before_its_first_row_is_resumed_by_the_same_network_only(tmp_path):
    CollapseMonitor(network(), [(x, y)], steps=6, folder=tmp_path)
    with pytest.raises(
        ValueError, match=r"need the run of the record in .* \(model='Sequential', head='4'\), got another"
    ):
        CollapseMonitor(nn.Linear(4, K), [(x, y)], steps=6, folder=tmp_path, resume=True)
    again = CollapseMonitor(network(), [(x, y)], steps=9, folder=tmp_path, resume=True)
    again.measure(1)
    assert read_record(tmp_path).config["steps"] == 9
