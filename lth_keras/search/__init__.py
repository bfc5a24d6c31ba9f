"""The search for winning tickets: its parameters, tasks, levels and processes."""
