"""The machine, its memory and signals, what is printed, and checks of values."""
