"""The losses that are mixed by alpha; names of ``taskct_core.losses``."""

IMAGE_LOSS = {"kind": "choice", "values": ["mse", "l1", "ssim"]}
TASK_LOSS = {"kind": "choice", "values": ["ce", "dice", "dice_ce", "focal", "tversky"]}
