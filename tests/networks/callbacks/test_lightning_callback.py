"""CollapseCallback in real Lightning trainings: loggers, record, checkpoints, precision, and errors at the start."""

import csv
import logging
import warnings
from datetime import timedelta

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from layerpeel.collapse import METRICS, measure
from layerpeel.experiments import draw
from layerpeel.networks.callbacks.lightning_callback import CollapseCallback
from layerpeel.records import read_record

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
K, N, D = 3, 45, 8
FIELDS = [line.field for line in METRICS]


@pytest.fixture(autouse=True)
def _no_advice():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
        yield


def samples():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(N) % K
    return torch.randn(N, 4, generator=generator) / 3 + 2 * torch.eye(4)[labels], labels


class Steps(LightningModule):
    def __init__(self, width=D):
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(1)
        self.net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, K))

    def training_step(self, batch, _):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, _):
        self.log("val_accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.3)


class Classifier(Steps):
    def forward(self, x):
        return self.net(x)


class WithoutForward(Steps):
    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.net(batch["pixels"]), batch["labels"])


class Dicts(TensorDataset):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return {"pixels": x, "labels": y}


def loader(kind=TensorDataset):
    return DataLoader(kind(*samples()), batch_size=10, shuffle=True, drop_last=True)


def fit(folder, module, callbacks, *, data=None, resume=None, logger=False, **options):
    torch.manual_seed(2)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(
        **{"max_epochs": 6, "num_sanity_val_steps": 0, "enable_checkpointing": False, **quiet, **options},
        callbacks=callbacks,
        logger=logger,
        default_root_dir=folder,
    )
    trainer.fit(module, loader() if data is None else data, loader(), ckpt_path=resume)
    return trainer


def assert_measured(row, module, *, rtol, fields=FIELDS, number=N):
    """The row has the fields of a report on the module as it is now, on the first samples."""
    x, y = (tensor[:number] for tensor in samples())
    head = module.net[-1]
    module.eval()
    with torch.no_grad():
        features = module.net[:-1](x.to(head.weight.dtype))
    report = measure(features, y, classifier=head.weight.detach(), bias=head.bias.detach()).asdict()
    for name in fields:
        np.testing.assert_allclose(row[name], report[name], rtol=rtol, atol=1e-12, err_msg=name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lightning")
    module, callback = Classifier(), CollapseCallback(record=5)
    loggers = [TensorBoardLogger(folder, name="tb"), CSVLogger(folder, name="csv")]
    checkpoint = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, monitor="collapse/nc1")
    fit(
        folder,
        module,
        [callback, checkpoint],
        logger=loggers,
        enable_checkpointing=True,
        accumulate_grad_batches=2,
        num_sanity_val_steps=2,
    )
    return folder, module, callback


def test_the_record_in_the_log_folder_holds_what_measure_says_and_draws(trained):
    folder, module, callback = trained
    record = read_record(folder / "tb" / "version_0" / "collapse")
    assert record.metrics.identical(callback.monitor.metrics)
    assert record.metrics["step"].values.tolist() == [0, 2, 3, 4, 6]
    assert record.summary["outcome"]["name"] == "COMPLETED"
    assert record.config["training"] == {"precision": "32-true", "width": D}
    assert_measured({name: float(record.metrics[name][0, -1]) for name in FIELDS}, module, rtol=1e-5)
    assert [path.name for path in draw(record, folder / "figures")] == ["collapse.png", "margin.png"]


def test_the_record_has_the_metrics_of_the_trainer_too(trained):
    _, _, callback = trained
    metrics = callback.monitor.metrics
    assert np.isnan(metrics["val_accuracy"].values[0, 0])
    assert (metrics["val_accuracy"].values[0, 1:] > 0.5).all()
    np.testing.assert_array_equal(metrics["loss"], metrics["train_loss"])
    np.testing.assert_allclose(metrics["log_loss"], np.log(metrics["loss"]))


def test_tensorboard_and_csv_show_the_rows(trained):
    folder, _, callback = trained
    board = EventAccumulator(str(folder / "tb" / "version_0"))
    board.Reload()
    with open(folder / "csv" / "version_0" / "metrics.csv") as file:
        table = list(csv.DictReader(file))
    for name in FIELDS:
        kept = callback.monitor.metrics[name].values[0]
        shown = [event.value for event in board.Scalars(f"collapse/{name}")]
        listed = [float(row[f"collapse/{name}"]) for row in table if row[f"collapse/{name}"]]
        np.testing.assert_allclose(shown, kept, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(listed, kept, rtol=1e-6, err_msg=name)


def test_a_checkpoint_carries_the_rows_and_a_resumed_fit_goes_on(trained, tmp_path):
    folder, _, callback = trained
    again = CollapseCallback(folder=tmp_path, record=[2, 5, 8])
    fit(tmp_path, Classifier(), [again], resume=folder / "epoch=3.ckpt", max_epochs=8)
    metrics = read_record(tmp_path).metrics
    assert metrics["step"].values.tolist() == [0, 2, 3, 4, 5, 8]
    np.testing.assert_array_equal(metrics["nc1"].values[0, :4], callback.monitor.metrics["nc1"].values[0, :4])


def test_training_takes_the_same_steps_with_the_callback_and_without(trained, tmp_path):
    _, module, _ = trained
    alone = Classifier()
    fit(tmp_path, alone, [], accumulate_grad_batches=2, num_sanity_val_steps=2)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, module.state_dict()[name]), name


def test_a_folder_in_use_is_refused_at_the_start(trained):
    folder, _, _ = trained
    with pytest.raises(ValueError, match="got one in use"):
        fit(folder, Classifier(), [CollapseCallback(folder=folder / "tb" / "version_0" / "collapse")])


def test_a_training_that_stops_early_is_measured_where_it_stops(tmp_path):
    callback = CollapseCallback(folder=tmp_path / "run", record=[0, 50])
    patience = EarlyStopping("val_accuracy", mode="min", patience=2)
    trainer = fit(tmp_path, Classifier(), [callback, patience], max_epochs=-1)
    record = read_record(tmp_path / "run")
    assert record.metrics["step"].values.tolist() == [0, trainer.current_epoch]
    assert trainer.current_epoch < 50
    assert record.summary["outcome"]["name"] == "COMPLETED"


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_every_precision_is_measured_in_the_dtype_of_the_weights(precision, tmp_path):
    module, callback = Classifier(), CollapseCallback(record=2)
    fit(tmp_path, module, [callback], max_epochs=2, precision=precision)
    assert len(callback.monitor.rows) == 2
    tolerance = 0.05 if module.dtype is torch.bfloat16 else 1e-4  # batches of another size round elsewhere
    fields = ("within_class_variation", "mean_angle_gap", "duality_gap")
    assert_measured(callback.monitor.rows[-1][1], module, rtol=tolerance, fields=fields)


def test_dict_batches_and_a_module_without_forward_are_measured_through_forward(tmp_path):
    module = WithoutForward()

    def forward(batch):
        module.net(batch["pixels"])
        return batch["labels"]

    callback = CollapseCallback(record=2, forward=forward)
    module.validation_step = None
    fit(tmp_path, module, [callback], data=loader(Dicts), max_epochs=1, limit_val_batches=0, limit_train_batches=2)
    assert [step for step, _ in callback.monitor.rows] == [0, 1]
    assert_measured(callback.monitor.rows[-1][1], module, rtol=1e-5, number=20)


def test_a_compiled_network_is_measured(tmp_path):
    rows = []
    for compiled in (False, True):
        module, callback = Classifier(), CollapseCallback(record=2)
        if compiled:
            module.net = torch.compile(module.net, backend="eager")
        fit(tmp_path, module, [callback], max_epochs=1)
        rows.append(callback.monitor.rows)
    plain, other = rows
    assert [step for step, _ in other] == [step for step, _ in plain] == [0, 1]
    for (_, expected), (_, found) in zip(plain, other, strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-9, nan_ok=True)


def test_a_fast_dev_run_checks_and_keeps_nothing(tmp_path):
    callback = CollapseCallback(folder=tmp_path / "run")
    fit(tmp_path, Classifier(), [callback], fast_dev_run=True)
    assert callback.monitor is None
    assert not (tmp_path / "run").exists()


class Convolution(Classifier):
    def __init__(self):
        super().__init__()
        self.net = nn.Conv1d(1, K, 4)


class Stream(IterableDataset):
    def __iter__(self):
        return zip(*samples(), strict=True)


x, y = samples()


@pytest.mark.parametrize(
    ("module", "options", "sentence"),
    [
        (Convolution, {}, "need a model with a linear layer, got none in Convolution"),
        (WithoutForward, {}, "need forward=, or a forward in WithoutForward"),
        (Classifier, {"dataloader": iter([(x, y)])}, "need a dataloader to walk again and again"),
        (Classifier, {"dataloader": DataLoader(TensorDataset(x[:0], y[:0]))}, "need batches to measure, got none"),
        (Classifier, {"dataloader": [(x, y + 1)]}, "need labels 0 <= y < K = 3, got 3"),
        (Classifier, {"head": "body"}, "got 'body'"),
        (Classifier, {"data": DataLoader(Stream(), batch_size=10)}, "need dataloader= .*, got a stream"),
        (Classifier, {"data": [loader(), loader()]}, "need dataloader= .*, got list"),
    ],
    ids=["no-linear", "no-forward", "one-shot", "empty", "labels", "head", "stream", "two-loaders"],
)
def test_bad_input_is_an_error_before_the_first_step(module, options, sentence, tmp_path):
    data = options.pop("data", None)
    steps = []
    with pytest.raises(ValueError, match=sentence):
        fit(tmp_path, module(), [CollapseCallback(**options), _Counter(steps)], data=data)
    assert not steps


class _Counter(CollapseCallback.__base__):
    def __init__(self, steps):
        self.steps = steps

    def on_train_batch_start(self, *_):
        self.steps.append(1)


@pytest.mark.slow
def test_two_processes_measure_every_sample_once(tmp_path):
    callback = CollapseCallback(folder=tmp_path / "run", record=2)
    two = {"devices": 2, "strategy": DDPStrategy(start_method="spawn", timeout=timedelta(minutes=4))}
    fit(tmp_path, Classifier(), [callback], max_epochs=2, data=loader(), **two)
    record = read_record(tmp_path / "run")
    assert record.metrics["step"].values.tolist() == [0, 2]
    assert f"N = {N} samples" in record.summary["text"]
