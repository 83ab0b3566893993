"""Collapse in any model of PyTorch; every number is defined in :mod:`layerpeel.collapse`.

measure_model       a model and its data -> report      neural_collapse   the same as a torchmetrics metric
head  live_head     the last linear layer               tap               what enters it
feature_batches     a model and its batches -> features process_pool      several ranks as one
ood                 scores for what is out of distribution, from the same moments
"""
