"""The search of a study.

``config``      how many trials, of what, proposed and pruned how
``space``       what is searched
``samplers``    which trial is proposed next
``pruners``     which trials are stopped early
``storage``     what is kept: Optuna's storage is the truth
``conductor``   brings these together: proposes trials, judges their epochs, ends them
``tune``        runs them: Ray Tune as the conductor's executor, the only part that knows Ray
``lock``        one driver a study
"""
