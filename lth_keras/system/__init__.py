"""The machine, its memory and signals, what is printed, and checks of values."""

from __future__ import annotations

from lth_keras.system.interrupts import uninterrupted
from lth_keras.system.machine import free_memory_bytes, peak_memory_bytes, return_free_memory, usable_cpus
from lth_keras.system.memory import NotEnoughMemoryError, checked_build, clear_memory_errors
from lth_keras.system.printing import Table, plain, printable
from lth_keras.system.progress import ConsoleReporter, duration
from lth_keras.system.values import boolean, integer, one_of, real, shown
