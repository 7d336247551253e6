"""The weight of the task loss: linear, logarithmic or logit scale, each with 0 and 1 reachable.

With 0 a trial is reconstruction alone, with 1 the task alone. Which scale resolves the trade-off depends on
how the losses compare: near-equal losses turn over in the middle (linear), a task loss hundreds of times
larger than the image loss turns over near 0 (log), and not knowing asks for both ends (logit).
"""

LINEAR = {"kind": "uniform", "low": 0.0, "high": 1.0, "ends": [0.0, 1.0]}
LOG = {"kind": "log", "low": 1e-4, "high": 1.0, "ends": [0.0, 1.0]}
LOGIT = {"kind": "logit", "low": 1e-3, "high": 1 - 1e-3, "ends": [0.0, 1.0]}
