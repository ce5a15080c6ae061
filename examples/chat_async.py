"""Two models talk to each other, or one with itself, awaited, from the server of `make serve`.

python examples/chat_async.py [ADDRESS]
"""

import asyncio
import sys

import loquor

SPEAKERS = {"Ann": "smollm2", "Ben": "smollm2"}
FIRST = "Let us plan a garden. What shall we plant first?"
TURNS = 4


def seen_by(speaker: str, said: list[tuple[str, str]]) -> list[loquor.Message]:
    """To each, its own words are the assistant's and the other's are the user's."""
    turns = [loquor.Message("assistant" if who == speaker else "user", text) for who, text in said]
    return [loquor.Message("system", f"You are {speaker}. Answer in one short sentence."), *turns]


async def main() -> None:
    said = [("Ben", FIRST)]
    print(f"Ben: {FIRST}")
    async with loquor.AsyncClient(*sys.argv[1:2], deadline_seconds=120) as client:
        for number in range(TURNS):
            speaker = ("Ann", "Ben")[number % 2]
            print(f"{speaker}: ", end="")
            stream = client.chat(SPEAKERS[speaker], seen_by(speaker, said), stream=True, max_tokens=40, seed=number)
            async for delta in stream:
                print(delta.text, end="", flush=True)
            said.append((speaker, stream.text))
            print()


if __name__ == "__main__":
    asyncio.run(main())
