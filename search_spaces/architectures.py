"""The reconstructors, each with its own parameters; names of ``taskct_core.reconstructors``.

Those from the sinogram need a dataset that has one (``simulation.store_sinogram``).
"""

WIDTH = {"kind": "int", "low": 8, "high": 32, "log": True}
WIDTH_IN_EIGHTS = {"kind": "int", "low": 8, "high": 32, "step": 8}  # normalisation groups, attention heads
WIDE = {"kind": "int", "low": 16, "high": 64, "log": True}
ITERATIONS = {"kind": "int", "low": 2, "high": 8}
MEMORY = {"kind": "int", "low": 2, "high": 6}

FROM_FBP = {
    "unet": {"width": WIDTH},
    "dncnn": {"width": WIDE, "depth": {"kind": "int", "low": 4, "high": 16}},
    "red_cnn": {"width": WIDE},
    "segresnet": {"width": WIDTH_IN_EIGHTS},
    "restormer": {"width": WIDTH_IN_EIGHTS},
    "msd": {"width": {"kind": "int", "low": 1, "high": 4}, "depth": {"kind": "int", "low": 10, "high": 60}},
}
FROM_SINOGRAM = {
    "learned_primal_dual": {"width": WIDTH, "iterations": ITERATIONS, "memory": MEMORY},
    "learned_gradient": {"width": WIDTH, "iterations": ITERATIONS, "memory": MEMORY},
    "itnet": {"width": WIDTH, "iterations": {"kind": "int", "low": 2, "high": 5}},
    "iradonmap": {"width": WIDE, "depth": {"kind": "int", "low": 4, "high": 10}},
}

ARCHITECTURE = {"kind": "choice", "values": FROM_FBP}
ANY_ARCHITECTURE = {"kind": "choice", "values": {**FROM_FBP, **FROM_SINOGRAM}}
