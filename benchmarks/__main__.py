"""Every benchmark in turn, and one table of what was found: `python -m benchmarks`, which takes about two hours."""

import sys

from benchmarks import (
    client_footprint,
    embeddings_vs_peers,
    front_vs_echo,
    fronts,
    generation_one_caller,
    generation_prefix,
    generation_server_cost,
    generation_vs_transformers,
    greedy_parity,
    packed_encoder,
    perplexity,
    start,
    two_workers,
)

PROGRAMS = (
    client_footprint,
    start,
    front_vs_echo,
    two_workers,
    fronts,
    packed_encoder,
    embeddings_vs_peers,
    greedy_parity,
    perplexity,
    generation_vs_transformers,
    generation_server_cost,
    generation_one_caller,
    generation_prefix,
)


def main() -> int:
    """The exit status is 1 if some figure was missed."""
    records = [program.main() for program in PROGRAMS]
    print("summary\n")
    for record in records:
        print(f"  {record.question}")
        for ratio in record.ratios:
            print(f"    {ratio}")
    return 0 if all(ratio.reached for record in records for ratio in record.ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
