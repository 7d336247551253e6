"""The methods as paragraphs for a paper: scanner, dose, patients, networks, training, search, statistics.

Every sentence is made of the study's own records, and is left out where they do not hold what it says.
"""

from __future__ import annotations

import math
from typing import Any

from analysis.metric_info import metric_info
from analysis.names import method_name
from analysis.paired_differences import FEWEST_PATIENTS_FOR_A_CLAIM
from analysis.results_table import CLAIM_SPLIT, OWN_NETWORK_MODES, ResultsTable
from analysis.statistics import CONFIDENCE, DRAWS
from taskct_core import schema as S

Record = dict[str, Any]


def methods_prose(table: ResultsTable) -> list[str]:
    """One paragraph a subject, without those of which nothing is recorded."""
    config, data = table.study.config, table.study.dataset
    paragraphs = [
        _scanner(
            _of(data, "geometry"), _of(data, "simulation") or _of(config, "simulation"), _of(data, "dose")
        ),
        _patients(table, data),
        _networks(table, _of(config, "trial")),
        _training(table, _of(config, "trial")),
        _search(table, _of(config, "study")),
        _statistics(table),
        _software(table),
    ]
    return [" ".join(filter(None, sentences)) for sentences in paragraphs if any(sentences)]


def _of(record: object, *keys: str) -> Record:
    for key in keys:
        record = record.get(key) if isinstance(record, dict) else None
    return record if isinstance(record, dict) else {}


def _say(sentence: str, **facts: Any) -> str:
    """The sentence with its facts; nothing where one is not known."""
    if any(value is None or value == "" for value in facts.values()):
        return ""
    return sentence.format(**{name: _words(value) for name, value in facts.items()})


def _words(value: object) -> str:
    """A number as a paper has it; of a range, such as that of a dose, both ends."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return f"{_words(value[0])} to {_words(value[1])}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _percent(share: object) -> object:
    """A share, or the ends of a range of shares, in percent; None where it is not known."""
    if isinstance(share, list | tuple):
        return [_percent(end) for end in share]
    return 100 * share if isinstance(share, int | float) else None


def _scanner(geometry: Record, simulation: Record, dose: Record) -> list[str]:
    kind = {"ParallelBeam": "parallel-beam", "FanBeam": "fan-beam"}.get(str(geometry.get("kind")))
    shape = geometry.get("image_shape")
    pixels = shape if isinstance(shape, list | tuple) and len(shape) == 2 else (None, None)
    return [
        _say(
            "Low-dose CT was simulated from reconstructed volumes with a {kind} scanner of {angles} angles and {bins} "
            "detector bins of {bin} mm.",
            kind=kind,
            angles=geometry.get("num_angles"),
            bins=geometry.get("num_bins"),
            bin=geometry.get("bin_spacing_mm"),
        ),
        _say(
            "Images have {rows} × {columns} pixels of {size} mm.",
            rows=pixels[0],
            columns=pixels[1],
            size=geometry.get("pixel_spacing_mm"),
        ),
        _say(
            "Photon counts were drawn from a Poisson distribution with {photons} photons per ray in air{electronic}.",
            photons=dose.get("photons_per_ray") or simulation.get("photons_per_ray"),
            electronic=" and Gaussian electronic noise"
            if simulation.get("electronic_noise_std")
            else "\u200b",
        ).replace("\u200b", ""),
        _say(
            "That is {share} % of the dose that gives clinical noise, and a noise of {noise} HU in the FBP image.",
            share=_percent(dose.get("dose_fraction")),
            noise=dose.get("noise_hu"),
        ),
        _say(
            "Filtered back-projection used the {filter} filter up to {scaling} % of the Nyquist frequency.",
            filter=simulation.get("fbp_filter"),
            scaling=_percent(simulation.get("fbp_frequency_scaling")),
        ),
    ]


def _patients(table: ResultsTable, data: Record) -> list[str]:
    counts = {split: len(names) for split, names in _of(data, "patients").items() if isinstance(names, list)}
    counts |= {split: n for split, n in _of(data, "patients").items() if isinstance(n, int)}
    scored = table.samples[table.samples[S.SPLIT] == table.claim_split]
    slices = len(scored[[S.PATIENT, S.SLICE_INDEX]].drop_duplicates())
    split = ""
    if table.folds:
        split = (
            f"Networks were trained and tested in a cross-validation by patient in {table.folds} folds: each patient was "
            "tested by networks that were neither trained nor chosen on them."
        )
    elif counts:
        told = ", ".join(
            f"{count} for {'training' if name == 'train' else name}" for name, count in counts.items()
        )
        split = f"Patients were split once: {told}; no patient is in two splits."
    return [
        split,
        _say(
            "Scores are of {slices} slices of {patients} patients of the {where} split{seen}.",
            slices=slices or None,
            patients=scored[S.PATIENT].nunique() or None,
            where=table.claim_split,
            seen=", which neither training nor search saw"
            if table.claim_split == CLAIM_SPLIT
            else ", on which the search chose",
        ),
    ]


def _networks(table: ResultsTable, trial: Record) -> list[str]:
    architectures = sorted({table.architecture(number) for number in table.trials.index} - {"reconstructor"})
    judge = _of(table.study.task_network, "network") or table.study.task_network
    window = judge.get("window_hu")
    window = window if isinstance(window, list | tuple) and len(window) == 2 else (None, None)
    known = {"architecture": judge.get("architecture"), "low": window[0], "high": window[1]}
    trained = _of(table.study.task_network, "patients").get("train")
    return [
        _say(
            "Images were reconstructed by {names}.",
            names=" and ".join(architectures) or trial.get("architecture"),
        ),
        _say(
            "The task network, a {architecture} that sees images from {low} to {high} HU, was trained on full-dose images "
            "beforehand and then frozen; its masks give every Dice score.",
            **known,
        ),
        _say(
            "It was trained on {patients} patients.",
            patients=len(trained) if isinstance(trained, list) else None,
        ),
    ]


def _training(table: ResultsTable, trial: Record) -> list[str]:
    modes = (
        [method_name(str(mode)) for mode in dict.fromkeys(table.trials[S.METHOD])]
        if len(table.trials)
        else []
    )
    own = set(table.trials[S.METHOD]) & set(OWN_NETWORK_MODES) if len(table.trials) else set()
    return [
        _say(
            "The loss was (1 - alpha) {image} + alpha {task}, where the search sets no other.",
            image=trial.get("image_loss"),
            task=trial.get("task_loss"),
        )
        if trial.get("mixing", "convex") == "convex"
        else "",
        _say("Training modes: {modes}.", modes=", ".join(modes)),
        "Some modes trained a task network of their own; the frozen one judges them all." if own else "",
        _say(
            "Networks were trained for {epochs} epochs in batches of {batch} with AdamW at a learning rate of {rate}, "
            "{schedule} schedule.",
            epochs=trial.get("epochs"),
            batch=trial.get("batch_size"),
            rate=trial.get("learning_rate"),
            schedule=trial.get("learning_rate_schedule"),
        ),
        "The weights of the best validation epoch were kept." if trial.get("keep") == "best" else "",
    ]


def _search(table: ResultsTable, search: Record) -> list[str]:
    names = " and ".join(metric_info(name).label for name in table.objectives)
    complete = int((table.trials[S.STATUS] == S.COMPLETE).sum())
    seeds = max(map(table.seeds_of, table.trials.index), default=1)
    return [
        _say(
            "{complete} of {trials} trials were completed, {chosen}; the objectives were {names} on validation.",
            complete=complete,
            trials=len(table.trials),
            chosen=_chosen_by(search, len(table.trials)),
            names=names,
        ),
        f"Each was trained with {seeds} seeds{' on each fold' if table.folds else ''}." if seeds > 1 else "",
        _say("Trials were stopped early by {pruner}.", pruner=_pruner(search)),
        "The front is of the complete trials that no other beats in all objectives on validation.",
    ]


def _chosen_by(search: Record, trials: int) -> str:
    """Who proposed the trials: the sampler, beginning with points that were given, if there were any."""
    sampler = str(_of(search, "sampler").get("name") or "").upper()
    points = search.get("enqueue")
    given = sum(
        math.prod(len(value) for value in point.values() if isinstance(value, list))
        for point in (points if isinstance(points, list) else [])
        if isinstance(point, dict)
    )
    if given and given >= trials:
        return "all of them given beforehand"
    proposed = f"proposed by {sampler}" if sampler else ""
    return f"{given} given beforehand, the others {proposed}" if given and proposed else proposed


def _pruner(search: Record) -> str | None:
    name = _of(search, "pruner").get("name")
    return None if name in (None, "none") else str(name)


def _statistics(table: ResultsTable) -> list[str]:
    return [
        f"Intervals of {100 * CONFIDENCE:.0f} % are of a bootstrap with {DRAWS} draws of patients, each with all slices, the same "
        "draws for all methods; where a method was trained with several seeds, what other training runs would give is added to "
        "each draw. Draws are stretched to Student's t with Satterthwaite's degrees of freedom, patients and runs being crossed "
        "random effects. P-values are corrected by Holm's method "
        "over all comparisons.",
        f"With fewer than {FEWEST_PATIENTS_FOR_A_CLAIM} patients no difference is called one.",
        f"What the search chose, it chose on validation; {table.claim_split} scores are told of that alone."
        if table.claim_split == CLAIM_SPLIT
        else "",
    ]


def _software(table: ResultsTable) -> list[str]:
    versions = [
        f"{column.removeprefix(S.VERSION_PREFIX)} {table.rows[column].dropna().iloc[0]}"
        for column in table.rows
        if column.startswith(S.VERSION_PREFIX) and table.rows[column].notna().any()
    ]
    return [_say("Software: {versions}.", versions=", ".join(versions))]
