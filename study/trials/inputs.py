"""What a trial is given: what it shares with the study's other trials, and the process that it runs in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import nn

from study.data.batches import Share
from study.data.feed import Feed
from taskct_core import schema
from taskct_core.apply.card import ScanRecord
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.rows import Batch
from taskct_core.geometry import Geometry
from taskct_core.image_quality.config import ImageQualityConfig
from taskct_core.image_quality.probes import Probe
from taskct_core.reconstructors.config import ReferenceNetworkConfig
from taskct_core.registry import BUILT_IN_ONLY, Trust
from taskct_core.task_networks import load_task_network
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.config import TrialConfig

_Part = TypeVar("_Part")


@dataclass(frozen=True)
class TrialInputs:
    """What all trials of a study share.

    Attributes:
        feeds: split -> where its batches come from.
        geometry: of the dataset.
        task_network: folder of the frozen task network.
        data_hash: of the dataset.
        panel: the slices that reports show, as one batch; empty for none.
        evaluation_batch_size: slices scored at a time.
        objectives: columns that the study optimises; a user's own are computed from the rows of the slices.
        trust: which plug-ins may be imported that the task network's folder or the study's storage names.
        fresh: how the samples of the train split are drawn anew; empty: they are the stored ones.
        further_judges: folders of more task networks, which judge beside the frozen one in training.
        audit: folder of a second task network, which judges the finished trial and takes no part in its training.
        scan: how the dataset was scanned, for the reconstructor's card.
        image_quality: what is inserted into livers to measure image quality on.
        probes: split -> the scans of that; empty: it is not measured.
        references: networks made elsewhere, which are scored beside the trials.
    """

    feeds: dict[str, Feed]
    geometry: Geometry
    task_network: str
    data_hash: str
    panel: Batch = field(default_factory=Batch)
    evaluation_batch_size: int = 16
    objectives: tuple[str, ...] = ()
    trust: Trust = BUILT_IN_ONLY
    fresh: str = ""
    further_judges: tuple[str, ...] = ()
    audit: str | None = None
    scan: ScanRecord = ScanRecord()
    image_quality: ImageQualityConfig = ImageQualityConfig()
    probes: dict[str, list[Probe]] = field(default_factory=dict)
    references: tuple[ReferenceNetworkConfig, ...] = ()


def load_audit(inputs: TrialInputs) -> tuple[TaskNetwork | None, dict[str, str]]:
    """The network that judges beside the frozen one, and the column that names it; nothing without one."""
    if inputs.audit is None:
        return None, {}
    network, card = load_task_network(open_folder(inputs.audit), inputs.trust)
    return network, {schema.AUDIT_NETWORK_HASH: card.content_hash}


def load_judges(inputs: TrialInputs, config: TrialConfig) -> tuple[list[TaskNetwork], dict[str, str]]:
    """The networks that judge a trial beside the frozen one, and the column that names them; nothing without any."""
    if config.judges == "first" or not inputs.further_judges:
        return [], {}
    loaded = [load_task_network(open_folder(folder), inputs.trust) for folder in inputs.further_judges]
    hashes = " ".join(card.content_hash for _, card in loaded)
    return [network for network, _ in loaded], {schema.FURTHER_JUDGES_HASH: hashes}


@dataclass(frozen=True)
class Worker:
    """The process a trial runs in: its share of the samples, its device, and how its modules are wrapped."""

    share: Share = Share()
    device: torch.device = torch.device("cpu")
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module

    @property
    def is_first(self) -> bool:
        """Whether this worker writes the trial's files."""
        return self.share.rank == 0

    def gather(self, value: _Part) -> list[_Part]:
        """What every worker of the trial gives, in the order of their ranks; all must call it."""
        if self.share.world_size == 1:
            return [value]
        parts: list[Any] = [None] * self.share.world_size
        torch.distributed.all_gather_object(parts, value)
        return parts
