"""layerpeel beside its peers and limits, measured in one process tree: ``python -m benchmarks``.

Each group is one module with a function ``rows(quick) -> Iterator[Row]``; its docstring says what is
compared and what is not. Everything runs on one thread pinned to one core, contenders alternate (A B A B
...), medians are reported and ratios are of CPU seconds, because shared machines make absolute times
meaningless.
"""
