"""Networks made elsewhere, saved as TorchScript."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from taskct_core.errors import DataError, first_line


def torchscript(path: str) -> nn.Module:
    """A network that was saved by ``torch.jit.save``; it takes and returns what any task network does.

    Raises:
        DataError: if the file is missing or no TorchScript.
    """
    if not Path(path).is_file():
        raise DataError("a TorchScript network must be an existing file", path, "Correct the path.")
    try:
        network: nn.Module = torch.jit.load(path, map_location="cpu")
    except (RuntimeError, ValueError) as error:
        raise DataError(
            "a TorchScript network must be a file that torch.jit.save wrote",
            f"{path} ({first_line(error)})",
            "Save it again; for a state_dict, name its architecture as package.module:Name.",
        ) from None
    return network
