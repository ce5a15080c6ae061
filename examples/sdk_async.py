"""The async client: many requests at once over one connection, from the server of `make serve`.

The server joins them into batches by itself.

    python examples/sdk_async.py [ADDRESS]
"""

import asyncio
import sys
import time

import loquor


async def main() -> None:
    async with loquor.AsyncClient(*sys.argv[1:2]) as client:
        await client.wait_ready("minilm")
        started = time.perf_counter()
        results = await asyncio.gather(*(client.embed("minilm", f"request number {n}") for n in range(32)))
        seconds = time.perf_counter() - started
        largest = max(result.timings.batch_size for result in results)
        print(f"{len(results)} requests in {seconds:.2f} s, in batches of up to {largest}")

        # A call that is given up leaves the server's queue at once.
        try:
            async with asyncio.timeout(0.001):
                await client.embed("minilm", "nobody waits for this")
        except TimeoutError:
            print("gave up after 1 ms")


if __name__ == "__main__":
    asyncio.run(main())
