"""Start a server with the real models, send one request per task through the client, print the answers, and stop.

`make demo` runs it. It needs the models in `models/` (`make models`) and leaves nothing behind.
"""

import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import loquor

ROOT = Path(__file__).resolve().parent.parent
SENTENCES = [
    "A man is eating food.",
    "Someone is having a piece of bread.",
    "The girl is carrying a baby.",
]
QUESTIONS = ["Name the three primary colours, in one line.", "Which of them is the sky's?"]
LETTER = "My name is Alex Rivera, I live at 742 Evergreen Terrace, Springfield, and my e-mail is alex@example.com."


@contextmanager
def running_server() -> Iterator[str]:
    """The address of a `loquor serve` on a free port."""
    command = [sys.executable, "-m", "loquor", "serve", "--repository", str(ROOT / "models")]
    models = ["--models", "minilm,rampart,smollm2"]
    flags = [*models, "--address", "127.0.0.1:0", "--metrics-address", "", "--log-level", "error"]
    with subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if not line:
            sys.exit(process.wait())
        print(line)
        try:
            yield line.rpartition(" ")[2]
        finally:
            process.send_signal(signal.SIGTERM)


def embed(client: loquor.Client) -> None:
    heading("Embed", "how alike are sentences? (minilm, cosine of the vectors)")
    vectors = [embedding.values for embedding in client.embed("minilm", SENTENCES)]
    for (one, a), (other, b) in itertools.combinations(zip(SENTENCES, vectors, strict=True), 2):
        print(f"  {sum(x * y for x, y in zip(a, b, strict=True)):6.3f}  {one}  |  {other}")


def tag_tokens(client: loquor.Client) -> None:
    heading("TagTokens", "what in a text is about a person? (rampart)")
    print(f"  {LETTER}")
    for span in client.tag_tokens("rampart", LETTER)[0].spans:
        print(f"  {span.score:6.3f}  {span.label:<16} {span.text}")


def chat(client: loquor.Client) -> None:
    heading("Generate", "a conversation, streamed as it is written (smollm2)")
    messages: list[loquor.Message] = []
    for question in QUESTIONS:
        messages.append(loquor.Message("user", question))
        print(f"  > {question}\n  ", end="")
        stream = client.chat("smollm2", messages, stream=True, temperature=0, max_tokens=60, deadline_seconds=120)
        for delta in stream:
            print(delta.text.replace("\n", "\n  "), end="", flush=True)
        messages.append(stream.generation.message)
        seconds = stream.timings.time_to_first_token_seconds
        print(f"\n    ({stream.usage.completion_tokens} tokens, the first after {seconds:.2f} s)")


def tokenize(client: loquor.Client) -> None:
    heading("Tokenize, Detokenize", "texts to ids and back (minilm)")
    tokens = client.tokenize("minilm", SENTENCES[0])[0].tokens
    ids = [token.id for token in tokens]
    print(f"  {ids}")
    print(f"  {client.detokenize('minilm', [ids])[0]}")


def open_inference(address: str) -> None:
    heading("Open Inference Protocol", "the same answers for an unmodified tritonclient")
    program = ROOT / "examples" / "tritonclient_embed.py"
    subprocess.run([sys.executable, program, address], check=True)


def heading(task: str, question: str) -> None:
    print(f"\n{task}: {question}")


def main() -> None:
    with running_server() as address:
        with loquor.Client(address) as client:
            embed(client)
            tag_tokens(client)
            tokenize(client)
            chat(client)
        open_inference(address)
    print("\nTo keep a server running: make serve")
    print("Then, from another terminal: .venv/bin/loquor chat smollm2")


if __name__ == "__main__":
    main()
