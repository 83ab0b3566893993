"""NeuralCollapse streams the numbers of lp.measure, whatever the batches, dtypes, ranks and detours."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from networks.ranks import run_ranks
from torchmetrics import MeanMetric, MetricCollection

import layerpeel as lp
from layerpeel.torch import NeuralCollapse, ProcessPool, neco

K, D, N = 6, 24, 300
SECOND = {"within_class_variation", "nc4_mismatch"}
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def samples(dtype=torch.float32, *, seed=0, far=3.0):
    """Clustered features of K classes of unequal sizes, and a linear layer that half fits them."""
    generator = torch.Generator().manual_seed(seed)
    means = 2 * torch.randn(K, D, generator=generator) + far
    labels = torch.randint(0, K, (N,), generator=generator)
    features = means[labels] + 0.3 * torch.randn(N, D, generator=generator)
    head = torch.nn.Linear(D, K)
    with torch.no_grad():
        head.weight.copy_(means - means.mean(0) + 0.2 * torch.randn(K, D, generator=generator))
        head.bias.copy_(torch.randn(K, generator=generator))
    return features.to(dtype), labels, head.to(dtype)


def batches(features, labels, size=37):
    return [(features[i : i + size], labels[i : i + size]) for i in range(0, len(labels), size)]


def streamed(metric, parts):
    for features, labels in parts:
        metric.update(features, labels)
    return metric


def assert_same(report, expected, *, but=frozenset(), rtol=1e-10):
    for field, value in expected.asdict().items():
        if field in but:
            assert math.isnan(report.asdict()[field]), field
        else:
            assert report.asdict()[field] == pytest.approx(value, rel=rtol, abs=1e-13, nan_ok=True), field


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_stream_gives_the_numbers_of_measure_but_for_two_fields(dtype):
    features, labels, head = samples(dtype)
    metric = streamed(NeuralCollapse(K, classifier=head), batches(features, labels))
    expected = lp.measure(features, labels, classifier=head.weight, bias=head.bias)
    report = metric.compute()
    assert isinstance(report, lp.CollapseReport)
    assert_same(report, expected, but=SECOND)
    assert report.passes == 1
    assert "one pass only" in report.notes[0]
    again = metric.second_pass(batches(features, labels, 100))
    assert_same(again, expected)
    assert again.passes == 2
    assert again.notes == expected.notes


@pytest.mark.parametrize("preset", ["ji2022", "papyan2020", "zhu2021", "zhou2022", "galanti2022", "wu2024"])
def test_every_preset_is_that_of_measure(preset):
    features, labels, head = samples()
    metric = streamed(NeuralCollapse(K, classifier=head, preset=preset), batches(features, labels))
    expected = lp.measure(features, labels, classifier=head.weight, bias=head.bias, preset=preset)
    assert metric.compute().preset == preset
    assert_same(metric.second_pass([(features, labels)]), expected)


def test_features_far_from_zero_keep_their_digits():
    features, labels, head = samples(torch.float64, far=1e6)
    metric = streamed(NeuralCollapse(K, classifier=head), batches(features, labels))
    expected = lp.measure(features, labels, classifier=head.weight, bias=head.bias)
    assert_same(metric.compute(), expected, but=SECOND, rtol=1e-8)


def test_without_the_matrix_only_nc1_waits_for_the_second_pass():
    features, labels, head = samples()
    metric = streamed(NeuralCollapse(K, classifier=head, within="trace"), batches(features, labels))
    expected = lp.measure(features, labels, classifier=head.weight, bias=head.bias)
    assert_same(metric.compute(), expected, but=SECOND | {"nc1"})
    assert_same(metric.second_pass([(features, labels)]), expected)
    assert D * D not in {state.numel() for state in metric.metric_state.values()}


def test_another_second_pass_is_noticed():
    features, labels, head = samples()
    metric = streamed(NeuralCollapse(K, classifier=head), batches(features, labels))
    noisy = features + 0.1 * torch.ones(D)
    assert "different samples" in " ".join(metric.second_pass([(noisy, labels)]).notes)


def test_the_head_counts_as_it_is_when_it_is_needed():
    features, labels, head = samples()
    metric = NeuralCollapse(K, classifier=head)
    streamed(metric, batches(features, labels))
    with torch.no_grad():
        head.weight.mul_(0.5).add_(0.1)
    metric.reset()
    streamed(metric, batches(features, labels))
    expected = lp.measure(features, labels, classifier=head.weight, bias=head.bias)
    assert_same(metric.compute(), expected, but=SECOND)


def test_a_weight_without_a_layer_and_no_classifier_at_all():
    features, labels, head = samples()
    metric = streamed(NeuralCollapse(K, classifier=head.weight, bias=head.bias), batches(features, labels))
    assert_same(metric.compute(), lp.measure(features, labels, classifier=head.weight, bias=head.bias), but=SECOND)
    plain = streamed(NeuralCollapse(K), batches(features, labels)).compute()
    assert_same(plain, lp.measure(features, labels, num_classes=K), but={"within_class_variation", "nc4_mismatch"})


def test_labels_left_out_missing_classes_and_odd_shapes():
    features, labels, _ = samples()
    labels = labels.clone()
    labels[labels == 2] = 3
    labels[::7] = -100
    metric = NeuralCollapse(K, ignore_index=-100)
    for x, y in batches(features, labels, 50):
        metric.update(x.reshape(5, -1, D), y.reshape(5, -1).to(torch.int32))
    metric.update(features[:0], labels[:0])
    expected = lp.measure(features, labels, num_classes=K, ignore_index=-100)
    report = metric.compute()
    assert_same(report, expected, but=SECOND)
    assert (report.missing_classes, report.dropped) == ((2,), int((labels == -100).sum()))


def test_forward_gives_the_batch_and_counts_it():
    features, labels, head = samples()
    metric = NeuralCollapse(K, classifier=head)
    for x, y in batches(features, labels, 100):
        expected = lp.measure(x, y, classifier=head.weight, bias=head.bias)
        assert_same(metric(x, y), expected, but=SECOND)
    expected = lp.measure(features, labels, classifier=head.weight, bias=head.bias)
    assert_same(metric.compute(), expected, but=SECOND)
    metric.to("cpu")
    assert_same(metric.compute(), expected, but=SECOND)


def test_inside_autocast_nothing_is_rounded():
    features, labels, head = samples()
    metric = NeuralCollapse(K, classifier=head)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for x, y in batches(features, labels):
            metric(x, y)
        report = metric.compute()
        full = metric.second_pass([(features, labels)])
    expected = lp.measure(features, labels, classifier=head.weight, bias=head.bias)
    assert_same(report, expected, but=SECOND)
    assert_same(full, expected)


@pytest.mark.parametrize(
    "cast",
    [lambda m: m.half(), lambda m: m.bfloat16(), lambda m: m.to(torch.float16), lambda m: m.set_dtype(torch.float16)],
    ids=["half", "bfloat16", "to", "set_dtype"],
)
def test_no_cast_reaches_the_states(cast):
    features, labels, _ = samples()
    metric = NeuralCollapse(K, num_features=D)
    module = torch.nn.ModuleList([metric])
    metric = cast(metric)
    module.half()
    streamed(metric, batches(features, labels))
    assert {state.dtype for state in metric.metric_state.values()} == {torch.float64, torch.int64}
    assert_same(metric.compute(), lp.measure(features, labels, num_classes=K), but=SECOND)


def test_pickle_copy_state_dict_and_reset():
    features, labels, head = samples()
    first, second = batches(features, labels, 150)
    expected = lp.measure(features, labels, classifier=head.weight, bias=head.bias)
    metric = streamed(NeuralCollapse(K, classifier=head), [first])
    saved = NeuralCollapse(K, classifier=head)
    metric.persistent(True)
    saved.load_state_dict(metric.state_dict())
    for twin in (pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric), metric.clone(), saved):
        assert_same(streamed(twin, [second]).compute(), expected, but=SECOND)
    metric.reset()
    assert metric.compute().num_samples == 0
    assert_same(streamed(metric, [first, second]).compute(), expected, but=SECOND)
    metric.persistent(False)
    assert metric.state_dict() == {}, "neither states nor the head are in a model's checkpoint unasked"
    assert list(metric.parameters()) == []


def test_a_copy_shares_the_live_head_and_a_pickle_keeps_it_as_it_was():
    features, labels, head = samples()
    metric = NeuralCollapse(K, classifier=head)
    copied, pickled = copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))
    before = lp.measure(features, labels, classifier=head.weight, bias=head.bias)
    with torch.no_grad():
        head.weight.mul_(2)
    after = lp.measure(features, labels, classifier=head.weight, bias=head.bias)
    assert streamed(copied, [(features, labels)]).compute().margin == pytest.approx(after.margin)
    assert streamed(pickled, [(features, labels)]).compute().margin == pytest.approx(before.margin)


def test_its_moments_are_those_that_the_scores_for_other_data_ask_for():
    features, labels, head = samples()
    metric = streamed(NeuralCollapse(K, classifier=head), batches(features, labels))
    moments = lp.ClassMoments.empty(K, D, second="matrix").update(features.numpy(), labels.numpy())
    np.testing.assert_allclose(metric.moments().means, moments.means, rtol=1e-12)
    np.testing.assert_allclose(metric.moments().within, moments.within, rtol=1e-9, atol=1e-9)
    other = torch.randn(5, D, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(neco(other, metric.moments()), neco(other.numpy(), moments), rtol=1e-6)


def test_metrics_merge():
    features, labels, head = samples()
    first, second = batches(features, labels, 150)
    metric, other = (streamed(NeuralCollapse(K, classifier=head), [part]) for part in (first, second))
    metric.merge_state(other)
    assert_same(metric.compute(), lp.measure(features, labels, classifier=head.weight, bias=head.bias), but=SECOND)


def test_in_a_collection_two_presets_share_one_state():
    features, labels, head = samples()
    collection = MetricCollection(
        {
            "ours": NeuralCollapse(K, classifier=head),
            "theirs": NeuralCollapse(K, classifier=head, preset="papyan2020"),
        }
    )
    for x, y in batches(features, labels):
        collection.update(x, y)
    assert len(collection.compute_groups) == 1
    reports = collection.compute()
    assert reports["theirs"].nc1 == pytest.approx(K * reports["ours"].nc1)
    assert_same(reports["ours"], lp.measure(features, labels, classifier=head.weight, bias=head.bias), but=SECOND)


def test_in_a_collection_it_goes_with_metrics_of_other_arguments():
    features, labels, _ = samples()
    collection = MetricCollection({"loss": MeanMetric(), "nc": NeuralCollapse(K)})
    for loss, (x, y) in zip((1.0, 2.0, 6.0), batches(features, labels, 100), strict=True):
        collection.update(value=loss, features=x, labels=y)
    found = collection.compute()
    assert float(found["loss"]) == pytest.approx(3.0)
    assert_same(found["nc"], lp.measure(features, labels, num_classes=K), but=SECOND)


def test_a_refused_batch_counts_nothing():
    features, labels, head = samples()
    metric = NeuralCollapse(K, classifier=head)
    metric.update(features[:100], labels[:100])
    bad = features[100:200].clone()
    bad[50, 3] = float("nan")
    wrong = labels[100:200].clone()
    wrong[-1] = K
    with pytest.raises(ValueError, match=r"need finite features, got 1 samples .* first at index 50"):
        metric.update(bad, labels[100:200])
    with pytest.raises(ValueError, match=f"need labels 0 <= y < K = {K}, got {K} at index 99"):
        metric.update(features[100:200], wrong)
    with pytest.raises(ValueError, match=f"need features of dimension {D}, got 5"):
        metric.update(features[:10, :5], labels[:10])
    metric.update(features[100:], labels[100:])
    assert_same(metric.compute(), lp.measure(features, labels, classifier=head.weight, bias=head.bias), but=SECOND)


def test_nonfinite_samples_are_left_out_on_request():
    features, labels, _ = samples()
    features[::9] = float("inf")
    metric = streamed(NeuralCollapse(K, allow_nonfinite="drop"), batches(features, labels))
    report = metric.compute()
    expected = lp.measure(features, labels, num_classes=K, allow_nonfinite="drop")
    assert_same(report, expected, but=SECOND)
    assert report.dropped == expected.dropped == len(features[::9])
    assert "had nan or inf" in report.notes[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num_classes": 1}, "need at least two classes, got K = 1"),
        ({"num_classes": 2.5}, "need num_classes to be an integer, got 2.5"),
        ({"num_classes": K, "preset": "who"}, "who"),
        ({"num_classes": K, "allow_nonfinite": "Drop"}, "need allow_nonfinite 'raise' or 'drop', got 'Drop'"),
        ({"num_classes": K, "ignore_index": 1.5}, "need ignore_index to be an integer, got 1.5"),
        ({"num_classes": K, "num_features": 0}, "need num_features >= 1, got 0"),
        ({"num_classes": K, "classifier": "fc"}, "need a layer or its weight .* got str"),
        ({"num_classes": K, "within": "some"}, "need within to be 'matrix' or 'trace', got 'some'"),
        ({"num_classes": K, "bias": torch.zeros(K)}, "need the weight as a tensor with a bias"),
        ({"num_classes": K, "classifier": torch.zeros(K + 1, D)}, r"need a classifier of shape \(K, d\) = \(6, 24\)"),
        ({"num_classes": K, "classifier": torch.zeros(K, D), "num_features": 3}, r"\(6, 3\), got \(6, 24\)"),
    ],
    ids=["K=1", "K=2.5", "preset", "nonfinite", "ignore", "d=0", "name", "within", "bias", "K of W", "d of W"],
)
def test_wrong_arguments_are_said_at_once(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        NeuralCollapse(**arguments)


def _ranks_report(rank, shards, expected_dtype):
    """Each rank its shard: the metric over all and over the first two, its second pass, and measure with a pool."""
    features, labels, head = samples(expected_dtype)
    pair = torch.distributed.new_group([0, 1])
    mine = slice(*shards[rank])
    parts = batches(features[mine], labels[mine])
    results = {}
    metric = streamed(NeuralCollapse(K, classifier=head), parts)
    results["metric"] = metric.compute()
    metric.update(features[:0], labels[:0])  # unsynced again: the states are this rank's own
    results["own"] = int(metric.counts.sum())
    results["second"] = metric.second_pass(parts)
    lazy = streamed(NeuralCollapse(K), parts)  # an empty shard does not even know d
    results["lazy"] = lazy.compute()
    options = {"classifier": head.weight, "bias": head.bias}
    results["pool"] = lp.measure(features[mine], labels[mine], **options, pool=ProcessPool())
    if rank < 2:
        two = streamed(NeuralCollapse(K, classifier=head, process_group=pair), parts)
        results["two"] = two.compute()
        results["two pool"] = lp.measure(features[mine], labels[mine], **options, pool=ProcessPool(pair))
    bad = torch.full((1, D), float("nan")) if rank == 2 else features[mine]
    try:
        lp.measure(bad, labels[mine][: len(bad)], **options, pool=ProcessPool())
    except ValueError as error:
        results["error"] = str(error)
    try:
        lp.measure(features[mine], labels[mine], pool=ProcessPool())
    except ValueError as error:
        results["unknown K"] = str(error)
    return results


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ranks_with_uneven_and_empty_shards_report_as_one_process(dtype):
    features, labels, head = samples(dtype)
    shards = [(0, 130), (130, 140), (140, 141), (141, 141)]  # the last rank has nothing
    results = run_ranks(4, _ranks_report, shards, dtype)
    options = {"classifier": head.weight, "bias": head.bias}
    seen = slice(0, 141)
    expected = lp.measure(features[seen], labels[seen], **options)
    plain = lp.measure(features[seen], labels[seen], num_classes=K)
    two = lp.measure(features[:140], labels[:140], **options)
    for (start, end), result in zip(shards, results, strict=True):
        assert_same(result["metric"], expected, but=SECOND, rtol=1e-12)
        assert_same(result["second"], expected, rtol=1e-12)
        assert_same(result["pool"], expected, rtol=1e-12)
        assert_same(result["lazy"], plain, but=SECOND, rtol=1e-12)
        assert result["own"] == end - start
        assert result["error"].startswith("rank 2: need finite features")
        assert result["unknown K"] == "rank 0: need num_classes or a classifier to pool processes, got neither"
    for result in results[:2]:
        assert_same(result["two"], two, but=SECOND, rtol=1e-12)
        assert_same(result["two pool"], two, rtol=1e-12)


def test_the_matrix_of_a_wide_stream_is_as_exact_as_that_of_a_narrow_one():
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(60) % 3
    features = torch.randn(3, 600, generator=generator)[labels] + 0.1 * torch.randn(60, 600, generator=generator) + 100
    metric = streamed(NeuralCollapse(3), batches(features, labels, 7))
    assert_same(metric.compute(), lp.measure(features, labels), but=SECOND)


def test_merging_into_an_empty_metric_leaves_the_other_its_own_state():
    features, labels, _ = samples()
    first, second = batches(features, labels, 150)
    shard, total = streamed(NeuralCollapse(K), [first]), NeuralCollapse(K)
    total.merge_state(shard)
    streamed(total, [second])
    assert_same(shard.compute(), lp.measure(*first, num_classes=K), but=SECOND)
    assert_same(total.compute(), lp.measure(features, labels, num_classes=K), but=SECOND)


def test_a_batch_whose_memory_is_used_again_counts_as_it_was():
    features, labels, head = samples(torch.float64)
    buffer, metric = torch.empty(50, D, dtype=torch.float64), NeuralCollapse(K, classifier=head)
    for x, y in batches(features, labels, 50):
        metric.update(buffer.copy_(x), y)
    assert_same(metric.compute(), lp.measure(features, labels, classifier=head.weight, bias=head.bias), but=SECOND)


def test_a_step_of_a_fused_optimiser_does_not_go_unnoticed():
    features, labels, head = samples()
    metric = NeuralCollapse(K, classifier=head)
    metric.update(features[:1], labels[:1])
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0, fused=True)
    head(features).square().mean().backward()
    optimizer.step()
    metric.q_min.fill_(float("inf"))
    metric.update(features, labels)
    expected = lp.measure(features, labels, classifier=head.weight, bias=head.bias).margin
    assert float(metric.q_min) == pytest.approx(expected, rel=1e-10)


def test_arrays_of_numpy_are_welcome():
    features, labels, head = samples()
    metric = NeuralCollapse(K, classifier=head.weight.detach().numpy(), bias=head.bias.detach())
    metric.update(features.numpy(), labels.numpy())
    assert_same(metric.compute(), lp.measure(features, labels, classifier=head.weight, bias=head.bias), but=SECOND)


def _refused_on_one_rank(rank):
    """Every rank gets the sentence of rank 1, and can go on with its metric."""
    features, labels, head = samples()
    metric = streamed(NeuralCollapse(K, classifier=head), [(features, labels)])
    sentences = []
    bad = labels + rank * K
    for attempt in (
        lambda: lp.measure(features, bad, num_classes=K, pool=ProcessPool()),
        lambda: metric.second_pass(5 if rank else [(features, labels)]),
        lambda: metric.second_pass([(features, labels), (features, bad)]),
    ):
        try:
            attempt()
        except ValueError as error:
            sentences.append(str(error))
    metric.update(features, labels)
    return sentences, metric.compute().num_samples


def test_what_one_rank_refuses_is_refused_by_all_and_the_metric_goes_on():
    for sentences, number in run_ranks(2, _refused_on_one_rank):
        assert len(sentences) == 3
        assert all(sentence.startswith("rank 1: ") for sentence in sentences)
        assert number == 4 * N
