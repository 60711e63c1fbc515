"""Real models on real data, runnable: `python -m examples.train`, `python -m examples.demo`."""
