"""Metrics: scores of one slice (``slices``, ``image``, ``components``), and of a split (``summary``).

Importing this package does not import torch.
"""

from taskct_core.metrics.summary import summarise

__all__ = ["summarise"]
