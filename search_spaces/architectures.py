"""The reconstructors, each with its own parameters; names of ``taskct_core.reconstructors``."""

WIDTH = {"kind": "int", "low": 8, "high": 32, "log": True}

UNET = {"width": WIDTH}

ARCHITECTURE = {"kind": "choice", "values": {"unet": UNET}}
