"""One program a question; each prints ratios measured side by side in one run. `python -m benchmarks` runs them all."""
