"""Collapse by plain loops, straight from the definitions: slow, obvious, and in extended precision.

Nothing here is shared with the package. Sums run over samples and classes one by one in long double; the one
linear-algebra call is numpy's pinv of a d x d Sigma_B, on cases where that is well conditioned.
"""

import math
from itertools import combinations

import numpy as np

# What each paper does, written down a second time: centre of the means, ddof of the standard deviation, whether NC1
# is over K, whether W is centred, whether the dual distance is squared, exponent of the distance in CDNV.
PAPERS = {
    "ji2022": ("classes", 0, True, True, False, 2),
    "papyan2020": ("classes", 1, False, False, True, 2),
    "zhu2021": ("samples", 0, True, False, False, 2),
    "zhou2022": ("samples", 0, True, True, False, 2),
    "galanti2022": ("classes", 0, True, True, False, 2),
    "wu2024": ("classes", 0, True, False, False, 4),
}


def collapse(H, y, W=None, b=None, *, paper="ji2022"):
    """Every field, for features H (N, d), labels y, head W (K, d), b (K,), as the paper defines it."""
    centre, ddof, over_K, centre_W, squared, exponent = PAPERS[paper]
    H = np.asarray(H).astype(np.longdouble)
    y = np.asarray(y).reshape(-1)
    classes = sorted({int(label) for label in y})
    rows = {k: [h for h, label in zip(H, y, strict=True) if label == k] for k in classes}
    mu = {k: sum(rows[k]) / len(rows[k]) for k in classes}
    of_classes = sum(mu.values()) / len(classes)
    of_samples = sum(H) / len(H)
    m = of_classes if centre == "classes" else of_samples
    a = [mu[k] - m for k in classes]
    fields = {
        **means_fields(a, ddof),
        **within_fields(H, y, rows, mu, m, a, over_K),
        "cdnv": cdnv(rows, mu, exponent),
    }
    if W is not None:
        W = np.asarray(W).astype(np.longdouble)
        b = np.zeros(len(W), np.longdouble) if b is None else np.asarray(b).astype(np.longdouble)
        w = [W[k] for k in classes]
        if centre_W:
            w = [row - sum(w) / len(w) for row in w]
        fields |= classifier_fields(a, w, ddof, squared)
        fields |= decision_fields(H, y, W, b, mu, of_samples)
    return {name: float(value) for name, value in fields.items()}


def norm(v):
    return np.sqrt(sum(x * x for x in np.ravel(v)))


def cosine(u, v):
    return sum(u * v) / (norm(u) * norm(v))


def variation(vectors, ddof):
    lengths = [norm(v) for v in vectors]
    mean = sum(lengths) / len(lengths)
    return np.sqrt(sum((x - mean) ** 2 for x in lengths) / (len(lengths) - ddof)) / mean


def angle_gap(vectors):
    K = len(vectors)
    gaps = [abs(cosine(u, v) + 1 / np.longdouble(K - 1)) for u, v in combinations(vectors, 2)]
    return sum(gaps) / len(gaps)


def simplex_gap(left, right):
    K = len(left)
    gram = np.array([[sum(u * v) for v in right] for u in left])
    E = (np.eye(K, dtype=np.longdouble) - 1 / np.longdouble(K)) / np.sqrt(np.longdouble(K - 1))
    return norm(gram / norm(gram) - E)


def means_fields(a, ddof):
    logs = [-np.log(norm(u / norm(u) - v / norm(v))) for u, v in combinations(a, 2)]
    mean = sum(logs) / len(logs)
    return {
        "mean_norm_variation": variation(a, ddof),
        "mean_angle_gap": angle_gap(a),
        "nc2_means": simplex_gap(a, a),
        "gnc2_log": mean,
        "gnc2_log_variance": sum((x - mean) ** 2 for x in logs) / len(logs),
    }


def within_fields(H, y, rows, mu, m, a, over_K):
    N, K = len(H), len(rows)
    residuals = [h - mu[int(label)] for h, label in zip(H, y, strict=True)]
    Sigma_W = sum(np.outer(r, r) for r in residuals) / N
    Sigma_B = sum(np.outer(v, v) for v in a) / K
    scale = np.trace(Sigma_B)
    inverse = np.linalg.pinv((Sigma_B / scale).astype(float), rcond=1e-11, hermitian=True)
    nc1 = np.trace(Sigma_W @ inverse) / scale
    return {
        "within_class_variation": sum(map(norm, residuals)) / sum(norm(h - m) for h in H),
        "nc1": nc1 / K if over_K else nc1,
        "nc1_quotient": np.trace(Sigma_W) / scale,
    }


def cdnv(rows, mu, exponent):
    several = [k for k in rows if len(rows[k]) > 1]
    v = {k: sum(norm(h - mu[k]) ** 2 for h in rows[k]) / len(rows[k]) for k in several}
    terms = [(v[j] + v[k]) / (2 * norm(mu[j] - mu[k]) ** exponent) for j, k in combinations(several, 2)]
    return sum(terms) / len(terms) if terms else math.nan


def classifier_fields(a, w, ddof, squared):
    dual = norm(np.array(w) / norm(w) - np.array(a) / norm(a))
    return {
        "classifier_norm_variation": variation(w, ddof),
        "classifier_angle_gap": angle_gap(w),
        "nc2_classifier": simplex_gap(w, w),
        "duality_gap": sum(norm(u / norm(u) - v / norm(v)) for u, v in zip(a, w, strict=True)) / len(a),
        "nc3": simplex_gap(w, a),
        "nc3_dual": dual**2 if squared else dual,
    }


def decision_fields(H, y, W, b, mu, of_samples):
    margins, mismatches = [], 0
    for h, label in zip(H, y, strict=True):
        logits = [sum(w * h) + offset for w, offset in zip(W, b, strict=True)]
        margins.append(logits[label] - max(z for j, z in enumerate(logits) if j != label))
        predicted = logits.index(max(logits))
        mismatches += predicted != min(mu, key=lambda k: norm(h - mu[k]))
    return {
        "nc4_mismatch": mismatches / len(H),
        "bias_collapse": norm(np.array([sum(w * of_samples) + offset for w, offset in zip(W, b, strict=True)])),
        "margin": min(margins),
    }
