"""The steps of `kernels/gpu-check`. Its `--help` says what they do."""
