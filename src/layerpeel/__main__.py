"""``python -m layerpeel``: the shell command, as torchrun starts it: torchrun --nproc-per-node 2 -m layerpeel run."""

from layerpeel.cli import main

if __name__ == "__main__":
    main()
