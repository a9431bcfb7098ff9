"""``python -m tests.benchmarks [--only NAME] [--quick | --tiny]``: run the benchmarks, print their tables."""

from __future__ import annotations

import argparse
import importlib
import importlib.util

import torch

from tests.benchmarks.harness import Size, table

NAMES = ("recurrent", "conv", "optimiser", "controller", "growth")


def main() -> None:
    """Run what is there and asked for."""
    there = [name for name in NAMES if importlib.util.find_spec(f"tests.benchmarks.{name}")]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=there, help="one benchmark")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="smaller and fewer rounds")
    size.add_argument("--tiny", action="store_true", help="only whether everything runs")
    arguments = parser.parse_args()
    chosen: Size = "tiny" if arguments.tiny else "quick" if arguments.quick else "full"
    torch.set_num_threads(1)
    for name in [arguments.only] if arguments.only else there:
        print(f"\n== {name}", end="")
        print(table(importlib.import_module(f"tests.benchmarks.{name}").run(chosen)), flush=True)


if __name__ == "__main__":
    main()
