"""The seeds of an experiment: ``seeds`` numbers from ``first_seed`` on."""

__all__ = ["seed_range"]


def seed_range(first_seed: int, seeds: int) -> list[int]:
    """first_seed, first_seed + 1, ... .

    Raises:
        ValueError: unless seeds >= 1 and 0 <= first_seed < 2^31.
    """
    if seeds < 1:
        raise ValueError(f"need seeds >= 1, got seeds={seeds}")
    if not 0 <= first_seed < 2**31:
        raise ValueError(f"need 0 <= first_seed < 2^31, got first_seed={first_seed}")
    return list(range(first_seed, first_seed + seeds))
