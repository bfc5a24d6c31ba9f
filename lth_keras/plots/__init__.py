"""Figures of a run, drawn from its run.h5. Uses no global matplotlib state."""

from lth_keras.plots.curves import chosen_levels, curves_figure
from lth_keras.plots.density_axis import draw_over_density, percent, set_density_axis
from lth_keras.plots.early import COORDINATE, early_branches, epochs_of
from lth_keras.plots.figures import figures_of, mark_unfinished
from lth_keras.plots.history import history_figure
from lth_keras.plots.kinds import density_by_kind_figure
from lth_keras.plots.labels import axis_label, shown_label
from lth_keras.plots.legend import add_legend
from lth_keras.plots.lines import draw_mean
from lth_keras.plots.masks import masks_figure
from lth_keras.plots.over_density import accuracy_figure, convergence_figure, early_stop_figure
from lth_keras.plots.overlap_matrix import overlap_matrix_figure
from lth_keras.plots.references import Reference, add_reference_legend, densities_of, draw_references
from lth_keras.plots.registered import Draw
from lth_keras.plots.save import save_figure, save_figures
from lth_keras.plots.score_distributions import score_distributions_figure
from lth_keras.plots.style import (
    DASH_DOT,
    DASHED,
    DOTTED,
    STYLES,
    BranchStyle,
    as_text,
    branch_style,
    branch_styles,
    line_width,
    new_figure,
)
from lth_keras.plots.weight_distributions import weight_distributions_figure
