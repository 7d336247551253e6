"""What must stay quick to import: the command line's --help and the analysis wait for it."""

from __future__ import annotations

import subprocess
import sys


def test_configuration_and_metric_definitions_do_not_import_torch() -> None:
    program = (
        "import sys; from taskct_core.config import TaskNetworkConfig, TrialConfig;"
        "import taskct_core.losses, taskct_core.reconstructors, taskct_core.task_networks, taskct_core.metrics;"
        "TrialConfig.parse({'image_loss': '0.5*mse + l1'}); TaskNetworkConfig.parse({});"
        "print([name for name in ('torch', 'monai', 'ray', 'pandas') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
