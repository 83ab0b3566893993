"""What layerpeel is compared with: the usual ways, and kernels written by hand, each from the definitions."""
