"""The losses that are mixed by alpha; names of ``taskct_core.losses``, or weighted sums of image losses."""

IMAGE_LOSS = {
    "kind": "choice",
    # 0.84 and 0.16: Zhao et al. 2017, IEEE Transactions on Computational Imaging 3(1):47-57.
    "values": ["mse", "l1", "charbonnier", "ssim", "0.84*ms_ssim + 0.16*l1"],
}
TASK_LOSS = {"kind": "choice", "values": ["ce", "dice", "dice_ce", "focal", "tversky"]}
