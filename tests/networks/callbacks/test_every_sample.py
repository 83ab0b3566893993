"""The samples that a training loader draws from, each once and in order."""

import pytest
import torch
from networks.ranks import run_ranks
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from layerpeel.networks.callbacks.every_sample import every_sample
from layerpeel.networks.measuring.process_pool import ProcessPool


class Numbers(Dataset):
    def __init__(self, count=11):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(4))


class Own(DataLoader):
    def __iter__(self):
        return iter([[torch.zeros(1, 1), torch.zeros(1)]])


def seen(loader):
    return [int(i) for _, labels in loader for i in labels]


DATA = Numbers()
ALL = list(range(11))


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"batch_size": 4, "shuffle": True, "drop_last": True}, ALL),
        ({"batch_size": 4, "sampler": WeightedRandomSampler([1.0] * 10 + [0.0], 30)}, ALL),
        ({"batch_size": 4, "sampler": RandomSampler(DATA, replacement=True, num_samples=3)}, ALL),
        ({"batch_size": 4, "sampler": SubsetRandomSampler([7, 2, 5])}, [2, 5, 7]),
        ({"batch_size": 4, "sampler": DistributedSampler(DATA, num_replicas=2, rank=1)}, ALL),
        ({"batch_sampler": BatchSampler(SubsetRandomSampler([9, 1]), 2, drop_last=False)}, [1, 9]),
        ({"batch_sampler": [[3, 4], [0, 3]]}, [0, 3, 4]),
    ],
    ids=["shuffled", "weighted", "replaced", "subset", "distributed", "batched-subset", "own-batches"],
)
def test_whatever_the_sampler_does_each_sample_comes_once_in_order(options, wanted):
    assert seen(every_sample(DataLoader(DATA, **options))) == wanted


@pytest.mark.parametrize(
    "batches",
    [[1, 2], DataLoader(Stream()), DataLoader(DATA, batch_size=None, sampler=[[0, 1]]), Own(DATA)],
    ids=["list", "stream", "no-batches", "own-iteration"],
)
def test_what_names_no_samples_is_handed_back(batches):
    assert every_sample(batches) is batches


def test_looking_at_the_samples_draws_no_random_numbers():
    loader = DataLoader(DATA, batch_size=4, sampler=SubsetRandomSampler(ALL))
    before = torch.get_rng_state()
    seen(every_sample(loader))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_walk_of_a_loader_does_not_touch_an_iteration_under_way():
    options = {"num_workers": 1, "persistent_workers": True, "multiprocessing_context": "forkserver"}
    loader = DataLoader(DATA, batch_size=2, shuffle=True, **options)
    under_way = iter(loader)
    first = next(under_way)[1].tolist()
    assert seen(every_sample(loader)) == ALL
    assert sorted(first + seen(under_way)) == ALL
    del under_way, loader


def share(rank):
    sampler = DistributedSampler(DATA, num_replicas=2, rank=rank, shuffle=True)  # pads 11 to 12
    return seen(every_sample(DataLoader(DATA, batch_size=4, sampler=sampler), ProcessPool()))


@pytest.mark.slow
def test_the_ranks_have_every_sample_once_between_them():
    assert run_ranks(2, share) == [ALL[::2], ALL[1::2]]
