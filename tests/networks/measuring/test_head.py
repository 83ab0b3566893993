"""The head of a model: the last linear layer, found through every wrapper, or a sentence that says what is missing."""

import re

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from layerpeel.networks.measuring.head import find_head, unwrapped
from layerpeel.networks.models.etf_classifier import ETFClassifier


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 5)
        self.heads = nn.ModuleDict({"fine": nn.Linear(5, 7), "coarse": nn.Linear(5, 2)})
        self.norm = nn.LayerNorm(5)


class TiedLanguageModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.lm_head = nn.Linear(3, 11, bias=False)
        self.embedding = nn.Embedding(11, 3)
        self.embedding.weight = self.lm_head.weight
        self.mixer = nn.Linear(3, 3)


@pytest.fixture
def model():
    return TwoHeads()


def test_the_last_linear_layer_is_the_head_by_default(model):
    assert find_head(model) == ("heads.coarse", model.heads["coarse"])
    assert find_head(nn.Linear(2, 3))[0] == ""


def test_a_head_is_found_by_its_name_and_by_itself(model):
    fine = model.heads["fine"]
    assert find_head(model, "heads.fine") == ("heads.fine", fine)
    assert find_head(model, fine) == ("heads.fine", fine)


def test_a_head_tied_to_the_embedding_is_found_by_name():
    model = TiedLanguageModel()
    assert find_head(model)[0] == "mixer"
    assert find_head(model, "lm_head") == ("lm_head", model.lm_head)
    assert find_head(model, "embedding")[1].weight is model.lm_head.weight


def test_a_fixed_etf_is_a_head():
    model = nn.Sequential(nn.Linear(4, 6), ETFClassifier(6, 3))
    assert find_head(model) == ("1", model[1])


def test_a_parametrized_layer_is_a_head_with_the_weight_it_computes():
    model = nn.Sequential(nn.Linear(4, 6), parametrizations.weight_norm(nn.Linear(6, 3)))
    name, head = find_head(model)
    assert name == "1"
    assert head.weight.shape == (3, 6)


def test_a_layer_registered_twice_counts_where_it_is_last():
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, nn.Linear(3, 3), shared)
    assert find_head(model) == ("2", shared)


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "compiled DataParallel": lambda model: torch.compile(nn.DataParallel(model), backend="eager"),
    "DataParallel of compiled": lambda model: nn.DataParallel(torch.compile(model, backend="eager")),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("head", [None, "heads.coarse"])
def test_wrappers_change_neither_name_nor_module(model, wrap, head):
    assert find_head(wrap(model), head) == ("heads.coarse", model.heads["coarse"])
    assert unwrapped(wrap(model)) is model


def test_compiled_parts_keep_the_names_they_had(model):
    coarse = model.heads["coarse"]
    model.heads["coarse"] = torch.compile(coarse, backend="eager")
    for head in (None, "heads.coarse", coarse, model.heads["coarse"]):
        assert find_head(model, head) == ("heads.coarse", coarse)


@pytest.mark.parametrize(
    ("model", "head", "sentence"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3)), None, "need a model with a linear layer, got none in Sequential"),
        (
            nn.Sequential(nn.Linear(2, 3)),
            "fc",
            "need the name of a module of the model as head (its linear layers: 0), got 'fc'",
        ),
        (nn.Sequential(nn.ReLU()), "fc", "need the name of a module of the model as head, got 'fc'"),
        (
            nn.Sequential(nn.Linear(2, 3)),
            nn.Linear(2, 3),
            "need a head that is a module of the model (its linear layers: 0), got another Linear",
        ),
        (
            nn.Sequential(nn.Conv2d(4, 10, 1)),
            "0",
            "need a head with a weight (K, d), got '0', Conv2d with a weight of shape (10, 4, 1, 1)",
        ),
        (nn.Sequential(nn.ReLU()), "0", "need a head with a weight (K, d), got '0', ReLU with no weight"),
        (
            nn.Sequential(nn.LazyLinear(3)),
            None,
            "need a head with a weight (K, d), got '0', LazyLinear before its first forward pass",
        ),
    ],
    ids=["no linear layer", "no such name", "no linear layer nor name", "foreign", "convolution", "weightless", "lazy"],
)
def test_a_model_without_the_head_says_so(model, head, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        find_head(model, head)
