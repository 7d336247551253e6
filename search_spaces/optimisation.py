"""The optimiser's settings."""

LEARNING_RATE = {"kind": "log", "low": 1e-4, "high": 1e-2}
WEIGHT_DECAY = {"kind": "log", "low": 1e-6, "high": 1e-2, "ends": [0.0]}
BATCH_SIZE = {"kind": "int", "low": 2, "high": 16, "log": True}
