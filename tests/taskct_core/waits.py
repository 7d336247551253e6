"""Counts how often a computation waits for its device, without a GPU.

The device is PyTorch's ``meta``: tensors on it have shapes and no values, so whatever reads one is seen. What a GPU
would have to be waited for is counted: reading a value, a copy to or from this process's memory that is not queued, and
a result whose shape depends on values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("meta")
_aten = torch.ops.aten
_SHAPED_BY_VALUES = {_aten.nonzero.default, _aten.masked_select.default}
_MADE_HERE = {torch.tensor, torch.Tensor.new_tensor}  # from values of this process


class Waits(TorchDispatchMode):
    """Counts while it is entered; what is read is zero.

    Attributes:
        count: how often the device was waited for.
        copies: how often results were queued on their way back, which nothing waits for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.copies = 0
        self._made = _Made(self)

    def __enter__(self) -> Waits:
        self._made.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._made.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _aten._local_scalar_dense.default and args[0].device == DEVICE:
            self.count += 1
            return torch.zeros((), dtype=args[0].dtype).item()
        if func is _aten._to_copy.default:
            return self._copied(func, args, kwargs)
        if func is _aten.copy_.default and args[0].device != args[1].device:
            self.count += 1
            return args[0].zero_()
        if func in _SHAPED_BY_VALUES and args[0].device == DEVICE:
            self.count += 1
            return func(*(torch.zeros(a.shape, dtype=a.dtype) for a in args)).to(DEVICE, non_blocking=True)
        if func is _aten.index.Tensor and args[0].device == DEVICE:
            self.count += any(
                i is not None and (i.dtype == torch.bool or i.device != DEVICE) for i in args[1]
            )
        return func(*args, **kwargs)

    def _copied(self, func: Any, args: Any, kwargs: Any) -> torch.Tensor:
        source, target = args[0], torch.device(kwargs.get("device") or args[0].device)
        if source.device == target:
            copied: torch.Tensor = func(*args, **kwargs)
            return copied
        self.count += not kwargs.get("non_blocking")
        self.copies += target.type == "cpu"
        return torch.zeros(source.shape, dtype=kwargs.get("dtype") or source.dtype, device=target)


class _Made(TorchFunctionMode):
    """Sees tensors that are made on the device from values of this process, which no operation shows."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        is_made_here = func in _MADE_HERE or (func is torch.Tensor.__getitem__ and _has_list(args[1]))
        if is_made_here and made.device == DEVICE:
            self._waits.count += 1
        return made


def _has_list(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, list) for part in parts)
