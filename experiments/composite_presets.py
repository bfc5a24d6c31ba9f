"""Sets of rows of the study of composites (Lutz & Manai, 2022)."""

from __future__ import annotations

from experiments.composite_rows import BASELINE, CRITERIA, SCHEDULES

STUDIED = ("magnitude", "snip", "grasp", "synflow")
"""The criteria of the study."""
TOP = (
    BASELINE,
    *(f"{criterion}_{schedule}" for criterion in STUDIED for schedule in ("uss", "ums") if criterion != "magnitude"),
    *("magnitude_uss", "grasp_magnitude_uss"),
    *("stacked_snip_magnitude_uss", "stacked_snip_synflow_uss", "stacked_snip_synflow_ums"),
    *("stacked_synflow_magnitude_uss", "stacked_synflow_snip_uss", "stacked_magnitude_snip_uss"),
    *("weights_snip_magnitude_uss", "weights_snip_synflow_ums", "weights_synflow_synflow_ums"),
    *("weights_snip_synflow_ums_drawn", "bimodal_snip_synflow_ums"),
)
"""Twenty rows: the baseline, and masks made before training by each criterion in one shot and many, and by composites.
"""
ABLATION = tuple(f"{criterion}_{schedule}" for criterion in CRITERIA for schedule in SCHEDULES)
"""Each criterion under each schedule."""
PRESETS = {"top20": TOP, "ablation": ABLATION, "none": ()}
