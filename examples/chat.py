"""A conversation, each answer streamed as it is written, from the server of `make serve`.

python examples/chat.py [ADDRESS]
"""

import sys

import loquor

MODEL = "smollm2"
TURNS = ("My name is Alex. What is yours?", "Write one line about the sea.", "What is my name?")


def main() -> None:
    messages = [loquor.Message("system", "You answer in one short sentence.")]
    with loquor.Client(*sys.argv[1:2], deadline_seconds=120) as client:
        client.wait_ready(MODEL)
        for turn in TURNS:
            print(f"> {turn}")
            messages.append(loquor.Message("user", turn))
            stream = client.chat(MODEL, messages, stream=True, temperature=0, max_tokens=60)
            for delta in stream:
                print(delta.text, end="", flush=True)
            # The next turn shares this one's beginning, which the server still has in its cache.
            messages.append(stream.generation.message)
            print(f"\n({stream.usage.prompt_tokens} tokens read, {stream.usage.cached_prompt_tokens} of them cached)")


if __name__ == "__main__":
    main()
