"""Does a stream mix the samples of an epoch as a shuffle would, and does it keep up with reading the disk?

    python benchmarks/streaming.py
    python benchmarks/streaming.py --preset lodopab --samples 10000 --json result.json   # flat keys

``StreamFeed`` gives epochs of a dataset of more samples than it ever holds, in turn with plain pyarrow reading the same
shards in the order of the disk. For the keys, see ``support/stream_quality.py``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))

import torch
from bench_record import write_result
from stream_quality import measure_stream

from study.cluster.ray_session import ray_session


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="small", choices=["tiny", "small", "lodopab"])
    parser.add_argument("--samples", type=int, default=11_500, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=3, help="epochs")
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, ray_session(num_cpus=2):
        result = measure_stream(Path(folder), arguments.preset, arguments.samples, arguments.rounds)
    for name, value in result.items():
        print(f"{name:>24}: {value:.3f}")
    if arguments.json:
        write_result(arguments.json, {"preset": arguments.preset, **result})


if __name__ == "__main__":
    main()
