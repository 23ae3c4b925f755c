#!/usr/bin/env python3
"""What one small call costs in eager PyTorch, in microseconds: what our operator calls are timed against.

    python3 peer.py

The tensors are so small that nothing but the call itself is measured. Each figure is the median over rounds of the mean over calls.
Prints one JSON object.
"""
import argparse
import json
import platform
import statistics
import time

import torch
import torch.nn.functional as F


def cases():
    a, b = torch.tensor(1.0), torch.tensor(2.0)
    square = torch.randn(2, 2)
    x, weight = torch.randn(2, 2), torch.randn(2, 2, requires_grad=True)
    total = torch.tensor(0.0)
    return {
        "add": lambda: torch.add(a, b),
        "add_": lambda: total.add_(b),
        "view": lambda: square.view(4),
        "linear 2x2 with gradient": lambda: F.linear(x, weight),
    }


def microseconds(call, calls, rounds):
    for _ in range(calls // 10):
        call()
    found = []
    for _ in range(rounds):
        repeats = range(calls)
        start = time.perf_counter()
        for _ in repeats:
            call()
        found.append((time.perf_counter() - start) / calls * 1e6)
    return statistics.median(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000, help="calls a round")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    # The loop and the call of a Python function are part of no operator.
    empty = microseconds(lambda: None, args.calls, args.rounds)
    found = {name: round(microseconds(call, args.calls, args.rounds) - empty, 3) for name, call in cases().items()}
    print(
        json.dumps(
            {"program": "pytorch-eager", "torch": torch.__version__, "python": platform.python_version(), "emptyCall": round(empty, 3), "microseconds": found}
        )
    )


if __name__ == "__main__":
    main()
