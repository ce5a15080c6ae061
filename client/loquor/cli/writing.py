"""Text on its way to stdout, as a model writes it."""

import sys

import loquor

# A model may write anything: nothing of it may move the cursor of a terminal. Line feeds and tabs may stay.
_CONTROLS = {code: " " for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def write_text(text: str) -> None:
    """At once; to a pipe as it is."""
    sys.stdout.write(text.translate(_CONTROLS) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def statistics(answer: loquor.Generation) -> str:
    """One line about a generation that has ended."""
    usage, timings = answer.usage, answer.timings
    seconds, further = (
        timings.total_seconds - timings.time_to_first_token_seconds,
        usage.completion_tokens - len(answer),
    )
    rate = f", {further / seconds:.1f} a second after that" if seconds > 0 and further > 0 else ""
    return (
        f"{usage.prompt_tokens} tokens read ({usage.cached_prompt_tokens} cached), "
        f"{usage.completion_tokens} written, the first after {timings.time_to_first_token_seconds:.2f} s{rate}; "
        f"{answer.finish_reason}"
    )
