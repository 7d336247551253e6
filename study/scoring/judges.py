"""The frozen task networks that score what is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from study.data.leakage import check_no_leakage
from taskct_core import schema
from taskct_core.errors import ConfigError
from taskct_core.registry import Trust
from taskct_core.task_networks import load_task_network
from taskct_core.task_networks.network import TaskNetwork


@dataclass(frozen=True)
class Judges:
    """The frozen networks that score: suffix of their columns -> network."""

    networks: dict[str, TaskNetwork]
    hashes: dict[str, str]  # column -> hash
    patients: list[dict[str, list[str]]]  # of each network: split -> patients it was trained and chosen on

    @classmethod
    def load(cls, task_network: Path, audit: Path | None, trust: Trust) -> Judges:
        """The study's task network, and the one that audits it.

        Raises:
            DataError: if a folder is no task network's.
            ConfigError: if both are the same network, or one is a plug-in that is not trusted.
        """
        network, card = load_task_network(task_network, trust)
        networks, hashes = {"": network}, {schema.TASK_NETWORK_HASH: card.content_hash}
        patients = [card.patients]
        if audit is not None:
            second, second_card = load_task_network(audit, trust)
            if second_card.content_hash == card.content_hash:
                raise ConfigError(
                    "the auditing task network must be another than the one trained against",
                    f"{audit}, which has the same weights",
                    "Pre-train one with another seed or architecture (`taskct pretrain --set ...`).",
                )
            networks[schema.AUDIT_NETWORK_SUFFIX] = second
            hashes[schema.AUDIT_NETWORK_HASH] = second_card.content_hash
            patients.append(second_card.patients)
        return cls(networks, hashes, patients)

    def check_no_leakage(self, scored: Mapping[str, list[str]]) -> None:
        """Refuse to score patients on whom one of them was trained or chosen; ``scored``: split -> patients.

        Raises:
            DataError: naming the patients.
        """
        for patients in self.patients:
            check_no_leakage(scored, patients, "a task network")
