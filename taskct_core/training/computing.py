"""How the networks of a trial are called in its training steps: in which precision, in what layout, compiled or not.

What is scored, kept and used after the training is called plainly, in float32, as it will be elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import nn

from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.config import TrialConfig

Call = Callable[..., torch.Tensor]


class Judge(NamedTuple):
    """What gives the task loss of a step.

    Attributes:
        classes: the frozen network whose classes the truth is put in.
        call: images ``(B, 1, H, W)`` -> logits ``(B, C, H, W)``.
    """

    classes: TaskNetwork
    call: Call


@dataclass(frozen=True)
class Computing:
    """The settings of the same names in ``TrialConfig``."""

    precision: Literal["fp32", "bf16"]
    channels_last: bool
    compile: bool
    cuda_graphs: bool

    @classmethod
    def of(cls, config: TrialConfig) -> Computing:
        return cls(config.precision, config.channels_last, config.compile, config.cuda_graphs)

    def lay_out(self, module: nn.Module) -> None:
        """Bring a module's weights into the layout, in place."""
        if self.channels_last:
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def call(self, module: nn.Module) -> Call:
        """The module as a training step calls it; its answers are float32."""
        mode = "reduce-overhead" if self.cuda_graphs else None  # PyTorch's name for CUDA graphs
        return self.in_precision(torch.compile(module, mode=mode) if self.compile else module)

    def begin_step(self) -> None:
        """Tell CUDA graphs that nothing of the step before is needed: they write to the same memory again."""
        if self.cuda_graphs:
            torch.compiler.cudagraph_mark_step_begin()

    def judge(self, network: TaskNetwork) -> Judge:
        """A frozen network as training steps are judged by it."""
        self.lay_out(network)
        return Judge(network, self.call(network))

    def in_precision(self, call: Call) -> Call:
        """A call whose operations run in bf16 where that is safe, by autocast, if the trial says so."""
        if self.precision == "fp32":
            return call

        def called(*tensors: torch.Tensor) -> torch.Tensor:
            with torch.autocast(tensors[-1].device.type, torch.bfloat16):
                answer = call(*tensors)
            return answer.float()

        return called
