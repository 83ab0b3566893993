"""The largest singular value of a matrix with its singular vectors."""

import numpy as np
from jaxtyping import Float

__all__ = ["top_singular_triple"]


def top_singular_triple(
    G: Float[np.ndarray, "K N"],
) -> tuple[float, Float[np.ndarray, "K"], Float[np.ndarray, "N"]]:
    """sigma_1, u, v from the smaller Gram matrix.

    The Gram matrix squares the singular values, which spoils the small ones; the largest keeps its relative precision.
    At an optimum K - 1 of them coincide, where a dense eigensolver is safe and Lanczos is not.
    """
    if G.shape[0] > G.shape[1]:
        sigma, v, u = top_singular_triple(G.T)
        return sigma, u, v
    values, vectors = np.linalg.eigh(G @ G.T)
    u = vectors[:, -1]
    image = G.T @ u
    length = float(np.linalg.norm(image))
    if length == 0:
        return 0.0, u, np.eye(G.shape[1])[0]
    return max(length, float(np.sqrt(max(values[-1], 0.0)))), u, image / length
