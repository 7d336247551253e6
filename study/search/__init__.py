"""The search of a study: its space, samplers, Optuna storage, lock, and the bridge to Ray Tune.

A sampler's factory takes (SamplerConfig, SearchSpace, the study's seed) and returns what makes Optuna's sampler for one
proposal from that proposal's seed; see :mod:`study.search.samplers`. One line a sampler.
"""

SAMPLERS = {
    "tpe": "study.search.samplers:tpe",
    "nsga2": "study.search.samplers:nsga2",
    "nsga3": "study.search.samplers:nsga3",
    "gp": "study.search.samplers:gp",
    "qmc": "study.search.samplers:quasi_random",
    "random": "study.search.samplers:random",
    "grid": "study.search.samplers:grid",
}
