"""Training and evaluating one trial over any iterable of batches, with no cluster.

A batch is a dict of tensors ``full_dose`` and ``fbp`` ``(B, 1, H, W)``, ``labels (B, H, W)`` uint8, where
stored ``sinogram (B, 1, A, D)``, and the sequences ``patient`` and ``slice_index``.
"""
