"""Text from a model: one prompt, several at once, a stream, and a text that fits a schema, from `make serve`.

python examples/generate.py [ADDRESS]
"""

import json
import sys

import loquor

MODEL = "smollm2"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def main() -> None:
    with loquor.Client(*sys.argv[1:2], deadline_seconds=120) as client:
        client.wait_ready(MODEL)

        result = client.generate(MODEL, "The capital of France is", max_tokens=12, temperature=0)
        print(f"{result.text!r}, ended by {result.finish_reason}")

        # Several prompts go out in one request, are written side by side, and come back in order.
        prompts = [f"The opposite of {word} is" for word in ("hot", "up", "early")]
        for prompt, answer in zip(prompts, client.generate(MODEL, prompts, max_tokens=6, temperature=0), strict=True):
            print(f"{prompt} ...{answer.text!r}")

        # Three texts of one prompt. The same seed gives the same three again.
        for choice in client.generate(MODEL, "Once upon a time", n=3, max_tokens=12, seed=1):
            print(f"- {choice.text!r}")

        with client.stream(MODEL, "Once upon a time", max_tokens=200, seed=1, stop=["."]) as stream:
            for delta in stream:
                print(delta.text, end="", flush=True)
        tokens, first = stream.usage.completion_tokens, stream.timings.time_to_first_token_seconds
        print(f"\n{tokens} tokens, the first after {first:.2f} s")

        question = [loquor.Message("user", "Invent a person. Answer in JSON.")]
        person = client.chat(MODEL, question, json_schema=SCHEMA, max_tokens=60, seed=1)
        print(json.loads(person.text) if person.finish_reason is loquor.FinishReason.STOP else person.text)


if __name__ == "__main__":
    main()
