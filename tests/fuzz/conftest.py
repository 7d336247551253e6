"""Makes the harness and the helpers of other tests importable under importlib mode."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in ("fuzz", "study", "analysis", "taskct_core"):
    sys.path.insert(0, str(Path(__file__).parent.parent / folder))
