"""``taskct study submit --slurm``: an experiment as a Slurm job that submits itself again until it is done.

The script starts Ray on the allocated nodes, if they are several, and runs ``taskct run`` on the first. Slurm signals it
a while before its time is over; the experiment then stops in order, and the script submits itself again.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jinja2

from study.config import load_experiment
from study.experiment.submit import check_secrets
from taskct_core.contracts.files import write_text
from taskct_core.errors import ConfigError, ResourceError, StudyError, first_line

_SECONDS_TO_STOP = 300  # before the time limit: epochs, checkpoints and tables are written in less
_SECONDS_TO_SUBMIT = 60

_SCRIPT = jinja2.Template(
    """\
#!/bin/bash
#SBATCH --job-name={{ name }}
#SBATCH --output={{ name }}-%j.log
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:USR1@{{ seconds_to_stop }}
#SBATCH --requeue
# Written by `taskct study submit --slurm`; further options were given to sbatch, which gets them again each time.
set -u
again=no driver=
stop() { again=yes; [ -z "$driver" ] || kill -TERM "$driver" 2>/dev/null; }
trap stop USR1 # from here on: while Ray starts, too
python={{ python }}
run=("$python" -m study.cli run {{ arguments }})

if [ "${SLURM_JOB_NUM_NODES:-1}" -gt 1 ]; then
  # Other users of the cluster reach these nodes: Ray lets in who knows this job's token.
  export RAY_AUTH_MODE=token RAY_AUTH_TOKEN="$("$python" -c 'import secrets; print(secrets.token_hex(32))')"
  ray=("$python" -m ray.scripts.scripts start --block --disable-usage-stats)
  resources=(--num-cpus "${SLURM_CPUS_PER_TASK:-1}" --num-gpus "${SLURM_GPUS_ON_NODE:-0}")
  head=$(hostname)
  port=$((20000 + SLURM_JOB_ID % 10000)) # jobs that share a node do not meet
  "${ray[@]}" "${resources[@]}" --head --port "$port" --dashboard-host 127.0.0.1 &
  others=$((SLURM_JOB_NUM_NODES - 1))
  srun --nodes="$others" --ntasks="$others" --exclude="$head" "${ray[@]}" "${resources[@]}" --address "$head:$port" &
  run+=(--set "execution.address=$head:$port")
  "$python" -m study.cluster.wait_for_nodes "$head:$port" "$SLURM_JOB_NUM_NODES" || exit 1
fi

"${run[@]}" &
driver=$!
[ "$again" = no ] || stop
wait "$driver"
code=$?
while kill -0 "$driver" 2>/dev/null; do # the signal ended the first wait, not the driver
  wait "$driver"
  code=$?
done
if [ "$again" = yes ] && [ "$code" != 0 ]; then
  exec sbatch {{ sbatch }}
fi
exit "$code"
""",
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
)


def submit_to_slurm(config: Path, overrides: Sequence[str], options: Sequence[str]) -> tuple[Path, str]:
    """Write the job's script beside the configuration and submit it.

    Args:
        config: the experiment's YAML file, in a folder that all nodes see.
        overrides: ``a.b=value``, as ``--set`` takes them.
        options: of ``sbatch``: ``["--nodes=2", "--time=04:00:00"]``.

    Returns:
        The script, and what ``sbatch`` said.

    Raises:
        ConfigError: if the configuration is not valid, names a cluster of its own, or a password is given.
        ResourceError: if there is no ``sbatch`` here.
        StudyError: if ``sbatch`` refuses the job.
    """
    experiment = load_experiment(config, list(overrides))
    check_secrets(overrides)
    if experiment.execution.address is not None:
        raise ConfigError(
            "a Slurm job starts a Ray of its own",
            f"execution.address: {experiment.execution.address}",
            "Leave the address out, or submit to that cluster without --slurm.",
        )
    if shutil.which("sbatch") is None:
        raise ResourceError(
            "submitting to Slurm needs sbatch",
            "it is not on the PATH",
            "Run this on a login node of the cluster (`module load slurm`?).",
        )
    script = config.resolve().with_suffix(".sbatch")
    write_text(script, _script(experiment.name, config.resolve(), overrides, script, options))
    return script, _sbatch([*options, str(script)])


def _script(name: str, config: Path, overrides: Sequence[str], script: Path, options: Sequence[str]) -> str:
    settings = [part for text in overrides for part in ("--set", text)]
    return _SCRIPT.render(
        name=name,
        seconds_to_stop=_SECONDS_TO_STOP,
        python=shlex.quote(sys.executable),
        arguments=shlex.join([str(config), *settings]),
        sbatch=shlex.join([*options, str(script)]),
    )


def _sbatch(arguments: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            ["sbatch", *arguments], capture_output=True, text=True, timeout=_SECONDS_TO_SUBMIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ResourceError(
            "sbatch must answer", first_line(error), "See `sinfo`; try again later."
        ) from None
    if done.returncode != 0:
        raise StudyError(
            "Slurm must accept the job",
            done.stderr.strip() or f"exit code {done.returncode}",
            "Correct the options after `--`.",
        )
    return done.stdout.strip()
