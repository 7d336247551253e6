"""An experiment with what its stages have made so far: each part is read, and checked, once."""

from __future__ import annotations

from functools import cached_property

from study.config import ExperimentConfig, trust_of
from study.data.dataset import DatasetCard, load_card, verify_shards
from study.data.leakage import check_no_leakage
from study.experiment.preflight import check_gpu, check_space
from study.experiment.workspace import Workspace
from study.search.space import SearchSpace
from taskct_core.contracts.files import check_writable, open_folder
from taskct_core.errors import ConfigError
from taskct_core.registry import Trust
from taskct_core.task_networks import load_task_network
from taskct_core.task_networks.storage import TaskNetworkCard


class Experiment:
    """What the stages of an experiment share.

    Args:
        config: of the experiment.

    Raises:
        ConfigError: if nothing can be written where the experiment's output goes.
        ResourceError: if a GPU is asked for on this machine, which has none.
    """

    def __init__(self, config: ExperimentConfig) -> None:
        self.config = config
        self.workspace = Workspace.of(config)
        check_writable(self.workspace.root)
        check_gpu(config.execution)

    @cached_property
    def trust(self) -> Trust:
        """Which plug-ins the folders' files may name."""
        return trust_of(self.config)

    @cached_property
    def dataset(self) -> DatasetCard:
        """The card of the dataset, whose shards were all seen to be whole.

        Raises:
            DataError: if there is none, or shards are missing or damaged.
        """
        card = load_card(self.workspace.dataset)
        verify_shards(self.workspace.dataset, card)
        return card

    @cached_property
    def task_network(self) -> TaskNetworkCard:
        """The card of the task network, which was seen to load, and not to know patients who give scores.

        Raises:
            ConfigError: if it is a plug-in that is not trusted.
            DataError: if there is none, it is broken, or it was trained on patients of whom the dataset gives scores.
        """
        _, card = load_task_network(self.workspace.task_network, self.trust)
        check_no_leakage(self.dataset.scored_patients, card.patients, "the task network")
        return card

    @cached_property
    def further_judges(self) -> tuple[str, ...]:
        """The folders of the task networks that judge beside the first in training, which were seen as it was.

        Raises:
            ConfigError: if one is another of them, or a plug-in that is not trusted.
            DataError: if one is broken, or was trained on patients of whom the dataset gives scores.
        """
        return tuple(self._judges)

    @cached_property
    def _judges(self) -> dict[str, str]:
        """Folder -> content hash of each further judge."""
        found: dict[str, str] = {}
        for name in self.config.further_judges:
            folder = open_folder(name)
            _, card = load_task_network(folder, self.trust)
            check_no_leakage(self.dataset.scored_patients, card.patients, "a further task network")
            if card.content_hash in (self.task_network.content_hash, *found.values()):
                raise ConfigError(
                    "further_judges must name other task networks than pretrained, each once",
                    f"{folder}, which has the same weights as another",
                    "Pre-train one with another seed or architecture.",
                )
            found[str(folder)] = card.content_hash
        return found

    @cached_property
    def audit(self) -> str | None:
        """The folder of the second judge, which was seen to load, to be another network, and to know no scored patient.

        Raises:
            ConfigError: if it is the task network itself, or a plug-in that is not trusted.
            DataError: if it is broken, or was trained on patients of whom the dataset gives scores.
        """
        if self.config.audit is None:
            return None
        folder = open_folder(self.config.audit)
        _, card = load_task_network(folder, self.trust)
        check_no_leakage(self.dataset.scored_patients, card.patients, "the auditing task network")
        if card.content_hash in (self.task_network.content_hash, *self._judges.values()):
            raise ConfigError(
                "audit must name another task network than those trained against",
                f"{folder}, which has the same weights",
                "Pre-train one with another seed or architecture.",
            )
        return str(folder)

    @cached_property
    def space(self) -> SearchSpace:
        """The study's search space, whose extreme values were seen to make valid trials.

        Raises:
            ConfigError: if they do not, or an objective of the user's own cannot be found.
        """
        return check_space(self.config)
