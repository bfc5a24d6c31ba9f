"""Experiments: parameters only, one module each. Run them from a checkout: `python -m experiments.NAME`."""
