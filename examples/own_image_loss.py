"""An image loss of one's own: `--set 'trial.image_loss=mse + 0.5*own_image_loss:edges'`."""

import torch


def edges(reconstruction: torch.Tensor, full_dose: torch.Tensor) -> torch.Tensor:
    """Two float32 (B, 1, H, W) in percent of the normalised range -> one number: how far the gradients differ."""
    error = reconstruction - full_dose
    return error.diff(dim=2).square().mean() + error.diff(dim=3).square().mean()
