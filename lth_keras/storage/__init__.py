"""Level files, run directories and run.h5: writing and reading. Does not import Keras."""

from lth_keras.storage.atomic import write_bytes
from lth_keras.storage.checksum import trailer
from lth_keras.storage.checksum import verify as verify_checksum
from lth_keras.storage.containment import contained
from lth_keras.storage.contents import Level, finished_levels, progress
from lth_keras.storage.directory import CONFIG_FILE, RunDirectory
from lth_keras.storage.facts import DocumentLengths, Facts, document_lengths
from lth_keras.storage.levels import DamagedFile, LevelResult, has_weights, read_level, write_level
from lth_keras.storage.lock import InUseError
from lth_keras.storage.mask_files import load_mask, safetensors_module, save_mask
from lth_keras.storage.notes import COMMAND, MODEL, read_note, write_note
from lth_keras.storage.record import differences, versions
from lth_keras.storage.record import path_part as check_path_part
from lth_keras.storage.run_file import RUN_FILE, assemble, open_run, write_run
from lth_keras.storage.tidy import curves_frame, levels_frame, write_csv
