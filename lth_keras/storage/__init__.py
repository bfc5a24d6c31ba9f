"""Level files, run directories and run.h5: writing and reading. Does not import Keras."""

from lth_keras.storage.directory import RunDirectory
from lth_keras.storage.facts import DocumentLengths, Facts
from lth_keras.storage.levels import DamagedFile, LevelResult, read_level, write_level
from lth_keras.storage.lock import InUseError
from lth_keras.storage.record import path_part as check_path_part
from lth_keras.storage.run import assemble, open_run, write_run
from lth_keras.storage.tidy import curves_frame, levels_frame, write_csv

__all__ = [
    "DamagedFile",
    "DocumentLengths",
    "Facts",
    "InUseError",
    "LevelResult",
    "RunDirectory",
    "assemble",
    "check_path_part",
    "curves_frame",
    "levels_frame",
    "open_run",
    "read_level",
    "write_csv",
    "write_level",
    "write_run",
]
