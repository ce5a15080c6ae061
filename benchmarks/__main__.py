"""Every benchmark in turn, and one table of what was found: `python -m benchmarks`, which takes about half an hour."""

import sys

from benchmarks import (
    client_footprint,
    embeddings_vs_peers,
    front_vs_echo,
    fronts,
    packed_encoder,
    start,
    two_workers,
)

PROGRAMS = (client_footprint, start, front_vs_echo, two_workers, fronts, packed_encoder, embeddings_vs_peers)


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
