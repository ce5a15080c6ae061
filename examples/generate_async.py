"""Many texts at once over one connection, each streamed, and one that is given up, from the server of `make serve`.

Each joins the model's next step as it comes, and leaves as it ends.

    python examples/generate_async.py [ADDRESS]
"""

import asyncio
import sys
import time

import loquor

MODEL = "smollm2"
SUBJECTS = ("the sea", "a train", "snow", "bread", "a violin", "the moon", "a garden", "rust")


async def write(client: loquor.AsyncClient, subject: str) -> loquor.Generation:
    """Streams one text; the time of its first delta is what a reader would wait."""
    started, stream = time.perf_counter(), client.stream(MODEL, f"A few words about {subject}:", max_tokens=40)
    await anext(stream)
    print(f"{subject}: first words after {time.perf_counter() - started:.2f} s")
    return await stream.result()


async def main() -> None:
    async with loquor.AsyncClient(*sys.argv[1:2], deadline_seconds=120) as client:
        await client.wait_ready(MODEL)
        started = time.perf_counter()
        texts = await asyncio.gather(*(write(client, subject) for subject in SUBJECTS))
        seconds, tokens = time.perf_counter() - started, sum(text.usage.completion_tokens for text in texts)
        print(f"{len(texts)} texts of {tokens} tokens in {seconds:.1f} s: {tokens / seconds:.0f} tokens/s")

        # Leaving the block gives the rest up; the model stops before its next step.
        async with client.stream(MODEL, "A very long story:", max_tokens=1000) as stream:
            async for _ in stream:
                if len(stream.text) > 40:
                    break
        print(f"{stream.text!r}, {stream.finish_reason}")


if __name__ == "__main__":
    asyncio.run(main())
