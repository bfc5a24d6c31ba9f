"""Figures of a run, drawn from its run.h5. Uses no global matplotlib state."""

from lth_keras.plots.accuracy import accuracy_figure
from lth_keras.plots.convergence import convergence_figure
from lth_keras.plots.curves import chosen_levels, curves_figure
from lth_keras.plots.early_stop import early_stop_figure
from lth_keras.plots.figures import figures_of, mark_unfinished
from lth_keras.plots.history import history_figure
from lth_keras.plots.kinds import density_by_kind_figure
from lth_keras.plots.overlap_matrix import overlap_matrix_figure
from lth_keras.plots.references import Reference
from lth_keras.plots.registered import Draw
from lth_keras.plots.save import save_figure, save_figures
from lth_keras.plots.score_distributions import score_distributions_figure
from lth_keras.plots.style import STYLES, BranchStyle, branch_style, branch_styles
from lth_keras.plots.weight_distributions import weight_distributions_figure

__all__ = [
    "STYLES",
    "BranchStyle",
    "Draw",
    "Reference",
    "accuracy_figure",
    "branch_style",
    "branch_styles",
    "chosen_levels",
    "convergence_figure",
    "curves_figure",
    "density_by_kind_figure",
    "early_stop_figure",
    "figures_of",
    "history_figure",
    "mark_unfinished",
    "overlap_matrix_figure",
    "save_figure",
    "save_figures",
    "score_distributions_figure",
    "weight_distributions_figure",
]
