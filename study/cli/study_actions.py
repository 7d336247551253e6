"""What the command line does with a study that exists: status, retries, scores, reports."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.monitor.progress import busy, console, progress
from study.monitor.score_line import score_line
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import ConfigError, ResourceError, StudyError
from taskct_core.registry import Trust
from taskct_core.schema import AUDIT_NETWORK_SUFFIX, DPRIME, METHOD, METRICS, TRIAL

if TYPE_CHECKING:
    from taskct_core.task_networks.network import TaskNetwork
    from taskct_core.volumes.finding import Finding


def find_study(folder: Path) -> Path:
    """The study folder that a user means by it or by its experiment's folder.

    Raises:
        StudyError: if there is none.
    """
    for candidate in (folder, folder / "study"):
        found = StudyFolder(candidate)
        if any(file.is_file() for file in (found.results, found.card, found.storage)):
            return candidate
    raise StudyError(
        "DIR must be a study's folder, OUTPUT/NAME/study, or its experiment's, OUTPUT/NAME",
        f"{folder}, " + ("which holds no study" if folder.exists() else "which does not exist"),
        "Start one with `taskct study run CONFIG`, or `taskct quickstart`.",
    )


def show_status(folder: Path) -> None:
    """Print how a study stands."""
    from study.monitor.status import study_status
    from study.monitor.status_view import draw_status

    console.print(draw_status(study_status(folder)))


def retry_failed_trials(folder: Path) -> None:
    """Queue a study's failed trials again."""
    from study.run import retry_failed

    numbers = retry_failed(folder)
    if numbers:
        console.print(f"Queued again: trials {', '.join(map(str, numbers))}. Next: taskct study run CONFIG")
    else:
        console.print("No trial has failed: nothing to retry.")


def change_study(folder: Path, settings: list[str]) -> None:
    """Change settings of a study, running or not."""
    from study.experiment.change import change_settings
    from study.search.control import describe_control

    control = change_settings(folder, settings)
    console.print(f"Set: {describe_control(control) or 'as the configuration says'}.", markup=False)


def pause_trials(folder: Path, trials: list[int]) -> None:
    """Pause trials of a study."""
    from study.experiment import change

    change.pause_trials(folder, trials)
    console.print("Paused at the end of the epoch that is trained. Go on with `taskct study resume`.")


def resume_trials(folder: Path, trials: list[int]) -> None:
    """Resume paused trials of a study."""
    from study.experiment import change

    change.resume_trials(folder, trials)
    console.print("Resumed: they go on as places get free, or with the next `taskct study run`.")


def rebuild_storage(folder: Path, trust: bool = False) -> None:
    """Make a study's lost storage again from its trials' folders.

    ``trust``: whether a search space written in Python that the folder names may be imported.
    """
    from study.experiment.rebuild import rebuild_study

    rebuilt = rebuild_study(folder, Trust(everything=trust))
    console.print(
        f"Rebuilt: {len(rebuilt.finished)} finished trials that the storage lacked, judged by their logs."
    )
    for trial, reason in rebuilt.set_aside.items():
        console.print(
            f"Trial {trial} is run anew, its folder set aside: {reason}", style="yellow", markup=False
        )
    if rebuilt.left_running:
        numbers = ", ".join(map(str, rebuilt.left_running))
        console.print(f"Not finished, or without a folder: trials {numbers}. Next: taskct study run CONFIG")


def evaluate_trials(
    folder: Path,
    data: Path | None,
    trials: list[int] | None,
    split: str,
    audit: Path | None,
    outside: tuple[Path, str | None, str] | None = None,
    trust: bool = False,
    lesions: dict[str, float] | None = None,
) -> None:
    """Score trials without training, and show the scores.

    ``outside`` is a network from elsewhere: file of weights, architecture, its parameters as YAML;
    ``trust``: whether plug-ins that the folders name may be imported; ``lesions``: settings of
    ``ImageQualityConfig``.
    """
    from study.scoring.evaluate import evaluate_study
    from study.scoring.outside import OutsideCheckpoint
    from taskct_core.image_quality.config import ImageQualityConfig

    quality = ImageQualityConfig.parse(lesions or {})

    checkpoint = None if outside is None else OutsideCheckpoint.from_options(*outside)
    with busy("Scoring"):
        rows = evaluate_study(
            folder, data, trials, split, audit, checkpoint, Trust(everything=trust), quality
        )
    for row in rows.to_dict("records"):
        name = row[METHOD] if row[TRIAL] < 0 else f"trial {row[TRIAL]}"
        console.print(
            f"{name:>10}: {score_line(row)}{_detectability_of(row)}{_audit_of(row)}", soft_wrap=True
        )
    console.print(f"Appended to {StudyFolder(folder).evaluations}")


def _detectability_of(row: Mapping[str, Any]) -> str:
    dprime = row.get(DPRIME, math.nan)
    if not math.isfinite(dprime):
        return ""
    return f", d' {dprime:.2f} ({row[f'{DPRIME}_low']:.2f} to {row[f'{DPRIME}_high']:.2f})"


def _audit_of(row: Mapping[str, Any]) -> str:
    """Each structure's Dice under the second network: it may know others than the first, so no means."""
    names = ("dice_liver_patient_nnunet", "dice_tumour_patient_nnunet")
    scores = {METRICS[name].label: row.get(f"{name}{AUDIT_NETWORK_SUFFIX}", math.nan) for name in names}
    known = [f"{label} {score:.3f}" for label, score in scores.items() if math.isfinite(score)]
    return f"; audit: {', '.join(known)}" if known else ""


def apply_network(
    folder: Path,
    source: Path,
    output: Path,
    choice: tuple[int | None, float | None, str | None],
    masks: Path | None,
    device: str | None,
    trust: bool,
) -> None:
    """Reconstruct a scan with a trial of a study; ``choice``: number, alpha or metric of that trial, or none."""
    console.print("Loading the network ...", style="dim")
    from analysis.selection import Choice
    from study.scoring.reconstructors import chosen_trial, trial_reconstructor
    from taskct_core.apply.application import Output, apply_reconstructor

    Output(output, masks).check()
    study = StudyFolder(find_study(folder))
    trial = chosen_trial(study, Choice(*choice))
    network = trial_reconstructor(study, trial, trust, choice[1]).to(_device(device))
    card = network.card
    mode = card.training.get("mode", "")
    name = f"taskct trial {trial}, {mode}, alpha {card.alpha:g}, {card.architecture}"
    weights = (
        f"weights {card.weights_sha256[:12] or 'of its checkpoint'}, trained on data {card.data_hash[:12]}"
    )
    console.print(f"Using {name}.")

    def tell(finding: Finding) -> None:
        style = "yellow" if finding.severity == "warning" else "dim"
        console.print(f"{finding.rule}; {finding.found}. {finding.next_step}", style=style, markup=False)

    @contextmanager
    def shown(slices: int) -> Iterator[Callable[[int], None]]:
        with progress("Reconstructing slices", slices) as advance:
            yield lambda done: advance(done, "")

    judge = _task_network(study, trust).to(network.device) if masks is not None else None
    description = f"{name}; {weights}; not for diagnosis"
    apply_reconstructor(network, source, Output(output, masks), description, tell, shown, judge)
    console.print(f"Images: {output}" + (f"  masks: {masks}" if masks is not None else ""), markup=False)


def write_model(
    folder: Path, output: Path, choice: tuple[int | None, float | None, str | None], trust: bool
) -> None:
    """Export a trial's reconstructor; ``choice``: number, alpha or metric of that trial, or none."""
    console.print("Loading the network ...", style="dim")
    from analysis.selection import Choice
    from study.scoring.reconstructors import chosen_trial, trial_reconstructor
    from taskct_core.apply.model_export import export_model
    from taskct_core.contracts.files import check_writable

    check_writable(output.absolute())
    study = StudyFolder(find_study(folder))
    trial = chosen_trial(study, Choice(*choice))
    name = f"{study.path.absolute().parent.name}, trial {trial}"
    with busy("Exporting"):
        made = export_model(trial_reconstructor(study, trial, trust, choice[1]), output, name)
    for file in made.files:
        console.print(str(file), markup=False)
    if made.without_onnx is not None:
        console.print(f"No ONNX file: {made.without_onnx}", style="yellow", markup=False)


def _device(wanted: str | None) -> str:
    import torch

    if wanted not in (None, "cpu", "cuda"):
        raise ConfigError("--device must be cpu or cuda", repr(wanted), "Correct it.")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ResourceError("--device cuda needs a GPU that PyTorch sees", "none", "Leave --device out.")
    return wanted or ("cuda" if torch.cuda.is_available() else "cpu")


def _task_network(study: StudyFolder, trust: bool) -> TaskNetwork:
    from taskct_core.contracts.files import open_folder
    from taskct_core.contracts.study_card import StudyCard
    from taskct_core.task_networks import load_task_network

    place = open_folder(StudyCard.read(study.card).folders["task_network"])
    if not place.is_dir():  # the experiment's folder was moved
        place = study.path.parent / "task_network"
    return load_task_network(place, Trust(everything=trust))[0]


def watch_study_report(folder: Path, out: Path | None, whereabouts: bool) -> None:
    """Write a study's report again whenever its results change, until interrupted."""
    from analysis import watch_report

    console.print(f"Watching {folder}; stop with Ctrl-C.")
    watch_report(str(folder), out=out, whereabouts=whereabouts)


def write_study_comparison(folders: list[Path], out: Path, side_by_side: bool) -> None:
    """Write one page on several studies."""
    with busy("Comparing studies"):
        from analysis import write_comparison

        page = write_comparison(list(map(str, folders)), out, side_by_side)
    console.print(f"Comparison: {page}")


def export_study(folder: Path, out: Path, formats: list[str] | None) -> None:
    """Write a study's figures, tables and front; ``formats`` None: SVG where it can be written, else HTML."""
    with busy("Loading the study"):
        import analysis
        from analysis.exports import check_pictures

        table = analysis.load(folder)
    if formats is None:
        formats = ["svg"]
        try:
            check_pictures("svg")
        except ResourceError as error:
            console.print(
                f"Figures are HTML: {error.rule}; {error.received}. {error.next_step}", style="yellow"
            )
            formats = ["html"]
    steps: list[tuple[str, Callable[[], list[Path]]]] = [
        (
            "figures",
            lambda: analysis.export_figures(table, out / "figures", formats),
        ),  # first: it may be refused
        ("tables", lambda: analysis.export_tables(table, out / "tables")),
        ("front", lambda: analysis.export_front_configs(table, out / "front")),
    ]
    written = 0
    with progress("Exporting", len(steps)) as advance:
        for name, write in steps:
            advance(0, name)
            written += len(write())
            advance(1, name)
    console.print(f"{written} files in {out}")


def export_trained_network(folder: Path, out: Path, alpha: float, trial: int | None, trust: bool) -> None:
    """Write the network of a trial at an alpha."""
    with busy("Loading the network"):
        from study.scoring.network_export import export_network

        number, files = export_network(folder, out, alpha, trial, Trust(everything=trust))
    console.print(f"Trial {number} at alpha {alpha:g}: {' and '.join(map(str, files))}")


def write_study_report(folder: Path, out: Path | None = None, whereabouts: bool = False) -> None:
    """Write a study's report, print its table of methods, and say where the report is."""
    started = time.monotonic()
    with busy("Writing the report"):
        from analysis import load, methods_console, write_report

        path = write_report(folder, out, whereabouts=whereabouts)
        methods = methods_console(load(folder), intervals=console.width >= 120)
    console.print(methods, soft_wrap=False)
    console.print(f"Report: {path}  ({path.stat().st_size / 1e6:.1f} MB, {time.monotonic() - started:.0f} s)")
