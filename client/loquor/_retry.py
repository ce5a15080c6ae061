"""When a call is tried again, as gRPC's own service config says it.

gRPC does the trying, in C and inside the deadline of the call; see docs/decisions/0004-retries-by-grpc.md.
"""

import json
import random
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A failed call is tried again if its status says that it may help: UNAVAILABLE and RESOURCE_EXHAUSTED.

    The pause before the n-th further try is drawn around `initial_backoff_seconds * multiplier**(n-1)`, at most
    `max_backoff_seconds`; a server that says when to come back is obeyed instead. All tries share the deadline of the
    call.

    `budget` stops storms: it is what a channel may lose in failed tries, 1 each, before it stops trying again; every
    call that succeeds gives back `budget_ratio`. Tries go on only while more than half of it is left.
    """

    attempts: int = 4
    initial_backoff_seconds: float = 0.1
    max_backoff_seconds: float = 2.0
    multiplier: float = 2.0
    budget: int = 20
    budget_ratio: float = 0.1

    def __post_init__(self) -> None:
        if not 2 <= self.attempts <= 5:
            raise ValueError(f"attempts: takes 2 to 5, the first one included, not {self.attempts}; None is no retry")
        # A pause that rounds to 0 ms leaves the call waiting until its deadline (grpcio 1.85.1).
        if not 0.01 <= self.initial_backoff_seconds <= self.max_backoff_seconds:
            raise ValueError("initial_backoff_seconds: takes at least 0.01 and at most max_backoff_seconds")
        if self.multiplier < 1:
            raise ValueError(f"multiplier: takes at least 1, not {self.multiplier}")
        if not 1 <= self.budget <= 1000 or self.budget_ratio <= 0:
            raise ValueError("budget takes 1 to 1000, and budget_ratio more than 0")

    def backoff_seconds(self, failures: int) -> float:
        """A pause after this many failures in a row, for what gRPC cannot repeat by itself."""
        ceiling = min(self.max_backoff_seconds, self.initial_backoff_seconds * self.multiplier ** (failures - 1))
        return ceiling * random.uniform(0.8, 1.2)


def service_config(retry: Retry | None) -> str:
    """The JSON that a channel is made with: round robin over the servers, and the retry policy for every method."""
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if retry is not None:
        config["methodConfig"] = [{"name": [{}], "retryPolicy": _policy(retry)}]
        config["retryThrottling"] = {"maxTokens": retry.budget, "tokenRatio": retry.budget_ratio}
    return json.dumps(config)


def _policy(retry: Retry) -> dict[str, Any]:
    return {
        "maxAttempts": retry.attempts,
        "initialBackoff": f"{retry.initial_backoff_seconds:.9f}s",
        "maxBackoff": f"{retry.max_backoff_seconds:.9f}s",
        "backoffMultiplier": retry.multiplier,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
    }
