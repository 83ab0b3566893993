"""CollapseTrainerCallback in real Trainers: record, logs, the label of every feature, and errors at the start."""

import logging

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    Trainer,
    TrainingArguments,
)

from layerpeel.collapse import METRICS, measure
from layerpeel.experiments import draw
from layerpeel.networks.callbacks.transformers_callback import CollapseTrainerCallback
from layerpeel.networks.measuring.tap import FeatureTap
from layerpeel.records import read_record

logging.getLogger("transformers").setLevel(logging.ERROR)
K, N, PAD = 3, 30, 0
FIELDS = [line.field for line in METRICS]
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 24,
    "max_position_embeddings": 8,
    "num_labels": K,
}
GPT = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 24, "n_positions": 8, "num_labels": K}
TOKENS = {"pad_token_id": PAD, "bos_token_id": 1, "eos_token_id": 2}


def texts():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 20, (N, 6), generator=generator)
    ids[:, :3] = 20 + (torch.arange(N) % K)[:, None]
    ids[1::2, 5] = PAD
    return ids


def classified():
    rows = zip(texts(), torch.arange(N) % K, strict=True)
    return [{"input_ids": ids, "attention_mask": (ids != PAD).long(), "labels": label} for ids, label in rows]


def continued():
    return [row | {"labels": row["input_ids"].masked_fill(row["input_ids"] == PAD, -100)} for row in classified()]


def bert():
    torch.manual_seed(1)
    return BertForSequenceClassification(BertConfig(**BERT))


def trainer(folder, model, data, **options):
    quiet = {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "save_strategy": "no", "seed": 0}
    arguments = {"per_device_train_batch_size": 8, "learning_rate": 1e-2, "logging_strategy": "epoch", **quiet}
    return Trainer(model, TrainingArguments(str(folder), **{**arguments, **options}), train_dataset=data)


def with_labels(model, forward):
    model.eval()
    with torch.no_grad(), FeatureTap(model) as tap:
        labels = forward()
        return measure(
            tap.features.reshape(-1, tap.features.shape[-1]),
            labels.reshape(-1),
            classifier=tap.classifier,
            bias=tap.bias,
            ignore_index=-100,
        )


def agree(row, report):
    for name, value in report.asdict().items():
        np.testing.assert_allclose(row[name], value, rtol=1e-4, atol=1e-10, err_msg=name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trainer")
    run = trainer(
        folder,
        bert(),
        classified(),
        num_train_epochs=4,
        report_to="tensorboard",
        save_strategy="epoch",
        dataloader_drop_last=True,
    )
    callback = CollapseTrainerCallback(folder=folder / "record", log=run.log, record=4)
    run.add_callback(callback)
    run.train()
    return folder, run, callback


def test_the_record_holds_what_measure_says_and_draws(trained):
    folder, run, callback = trained
    record = read_record(folder / "record")
    assert record.metrics.identical(callback.monitor.metrics)
    assert record.metrics["step"].values.tolist() == [0, 2, 3, 4]
    assert record.summary["outcome"]["name"] == "COMPLETED"
    assert record.config["training"]["learning_rate"] == 1e-2
    ids = texts()

    def forward():
        run.model(input_ids=ids, attention_mask=(ids != PAD).long())
        return torch.arange(N) % K

    agree(callback.monitor.rows[-1][1], with_labels(run.model, forward))
    assert [path.name for path in draw(record, folder / "figures")] == ["collapse.png", "margin.png"]


def test_the_values_reach_tensorboard_and_the_history_and_the_losses_the_record(trained):
    folder, run, callback = trained
    (events,) = folder.rglob("*tfevents*")
    board = EventAccumulator(str(events))
    board.Reload()
    metrics = callback.monitor.metrics
    for name in FIELDS:
        shown = [event.value for event in board.Scalars(f"train/collapse/{name}")]
        np.testing.assert_allclose(shown, metrics[name].values[0], rtol=1e-6, err_msg=name)
    history = run.state.log_history
    assert [entry["epoch"] for entry in history if "collapse/nc1" in entry] == [0, 2, 3, 4]
    losses = {entry["epoch"]: entry["loss"] for entry in history if "loss" in entry}
    assert list(losses) == [1, 2, 3, 4]  # logging ours leaves the Trainer's own in place
    assert metrics["loss"].values[0, 1:].tolist() == [losses[2], losses[3], losses[4]]


def test_training_takes_the_same_steps_with_the_callback_and_without(trained, tmp_path):
    _, run, _ = trained
    alone = trainer(tmp_path, bert(), classified(), num_train_epochs=4, dataloader_drop_last=True)
    alone.train()
    for name, value in alone.model.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[name]), name


def test_a_training_resumed_from_a_checkpoint_goes_on_with_the_record(trained):
    folder, _, callback = trained
    before = callback.monitor.metrics
    run = trainer(folder, bert(), classified(), num_train_epochs=5, dataloader_drop_last=True)
    run.add_callback(CollapseTrainerCallback(folder=folder / "record", record=[5]))
    run.train(resume_from_checkpoint=str(folder / "checkpoint-6"))  # two epochs of three batches
    metrics = read_record(folder / "record").metrics
    assert metrics["step"].values.tolist() == [0, 2, 5]
    np.testing.assert_array_equal(metrics["nc1"].values[0, :2], before["nc1"].values[0, :2])


def test_a_decoder_that_classifies_is_measured_at_the_token_that_decides(tmp_path):
    torch.manual_seed(1)
    model = GPT2ForSequenceClassification(GPT2Config(**GPT, **TOKENS))
    run = trainer(tmp_path, model, classified(), max_steps=3)
    callback = CollapseTrainerCallback(unit="step", record=[0, 2])
    run.add_callback(callback)
    run.train()
    assert callback.monitor.metrics["step"].values.tolist() == [0, 2, 3]
    assert [entry["step"] for entry in run.state.log_history if "collapse/nc1" in entry] == [0, 2, 3]
    ids = texts()
    deciding = torch.where(ids[:, 5] == PAD, 4, 5)

    def forward():
        model(input_ids=ids, attention_mask=(ids != PAD).long())
        labels = torch.full((N, 6), -100)
        labels[torch.arange(N), deciding] = torch.arange(N) % K
        return labels

    agree(callback.monitor.rows[-1][1], with_labels(model, forward))


def test_a_causal_language_model_is_measured_against_the_next_token(tmp_path):
    torch.manual_seed(1)
    model = GPT2LMHeadModel(GPT2Config(**GPT, **TOKENS))
    run = trainer(tmp_path, model, continued(), num_train_epochs=1)
    callback = CollapseTrainerCallback(record=2)
    run.add_callback(callback)
    run.train()
    ids = texts()

    def forward():
        model(input_ids=ids, attention_mask=(ids != PAD).long())
        labels = torch.full((N, 6), -100)
        labels[:, :5] = ids[:, 1:]
        return labels.masked_fill(labels == PAD, -100)

    agree(callback.monitor.rows[-1][1], with_labels(model, forward))


class Convolution(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Conv1d(1, K, 6)

    def forward(self, input_ids, labels=None):
        return torch.nn.functional.cross_entropy(self.body(input_ids.float()[:, None])[..., 0], labels), None


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (Convolution, {}, "need a model with a linear layer, got none in Convolution"),
        (bert, {"dataloader": []}, "need batches to measure, got none"),
        (bert, {"dataloader": iter([1])}, "need batches to walk again and again"),
        (bert, {"dataloader": [(texts(), texts())]}, "need batches that are dicts with labels, or forward="),
        (bert, {"folder": "file/run"}, r"need a folder that can be written, got .*file/run"),
    ],
    ids=["no-linear", "empty", "one-shot", "pairs", "folder"],
)
def test_bad_input_is_an_error_before_the_first_step(model, options, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    run = trainer(tmp_path / "run", model(), classified(), num_train_epochs=1)
    run.add_callback(CollapseTrainerCallback(**options))
    with pytest.raises(ValueError, match=sentence):
        run.train()
    assert run.state.global_step == 0


def test_another_unit_is_refused():
    with pytest.raises(ValueError, match="need unit 'epoch' or 'step', got 'batch'"):
        CollapseTrainerCallback(unit="batch")


def test_tokens_without_a_label_always_have_an_index():
    with pytest.raises(ValueError, match="need ignore_index to be an integer, got None"):
        CollapseTrainerCallback(ignore_index=None)
