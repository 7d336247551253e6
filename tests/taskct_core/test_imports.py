"""What must stay quick to import: the command line's --help and the analysis wait for it, and each process of a study."""

from __future__ import annotations

import subprocess
import sys


def test_checking_every_name_of_an_experiment_imports_no_library() -> None:
    program = (
        "import sys; from study.config import ExperimentConfig;"
        "ExperimentConfig.parse({'simulation': {'preset': 'tiny', 'fbp_filter': 'hann'},"
        "'trial': {'mode': 'joint', 'mixing': 'share', 'architecture': 'unet', 'task_loss': 'ce'},"
        "'task_network': {'architecture': 'unet', 'classes': 'liver'},"
        "'data': {'source': {'kind': 'lits', 'path': 'ct'}},"
        "'study': {'sampler': {'name': 'gp'}, 'pruner': {'name': 'asha'}}});"
        "print([name for name in ('torch', 'monai', 'ray', 'pandas', 'optuna') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_an_experiment_is_submitted_without_what_runs_one() -> None:
    program = (
        "import sys, study.cli.submitting; print([n for n in ('torch', 'ray', 'pandas') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_trials_process_loads_no_library_before_it_builds_what_needs_it() -> None:
    """Each of a study's processes imports these modules, and MONAI alone takes longer than all that they load."""
    program = (
        "import sys; import study.trials.executors, study.trials.stacked, study.scoring.references_beside,"
        "study.experiment.pretrain;"
        "heavy = 'monai', 'ray', 'plotly', 'matplotlib', 'sklearn', 'skimage', 'nibabel', 'pydicom', 'scipy.stats';"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_configuration_and_metric_definitions_do_not_import_torch() -> None:
    program = (
        "import sys; from taskct_core.task_networks.config import TaskNetworkConfig;"
        "from taskct_core.training.config import TrialConfig;"
        "import taskct_core.losses, taskct_core.reconstructors, taskct_core.task_networks, taskct_core.metrics;"
        "TrialConfig.parse({'image_loss': '0.5*mse + l1'}); TaskNetworkConfig.parse({});"
        "print([name for name in ('torch', 'monai', 'ray', 'pandas') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
