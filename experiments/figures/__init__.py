"""Figures of one experiment or paper, registered for `lth-keras plot` in setup.cfg: `<experiment>.<module>`."""
