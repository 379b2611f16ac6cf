"""What Parley promises of speed, measured: one module a question, `python -m benchmarks` for all of them."""
