"""The looks as one page that needs nothing else: no file beside it, no network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import jinja2

from study.inspection.patient_look import PatientLook
from taskct_core.contracts.files import write_text

_VERDICTS = {"refused": "refused", "warning": "to look at", "good": "good"}


def write_page(path: Path, source: str, looks: Sequence[PatientLook]) -> None:
    """Write the page, whole or not at all; patients with findings come first.

    Args:
        source: what was inspected, for the heading.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    text = resources.files("study.inspection").joinpath("page.html").read_text(encoding="utf-8")
    order = list(_VERDICTS)
    page = environment.from_string(text).render(
        source=source,
        looks=sorted(looks, key=lambda look: order.index(look.verdict)),
        counts={word: sum(look.verdict == verdict for look in looks) for verdict, word in _VERDICTS.items()},
        verdicts=_VERDICTS,
        written_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(path, page)
