"""The fast way to read a vector gives what the message says."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from loquor._models import ModelState
from loquor._replies import embeddings, model_from
from loquor.v1 import language_service_pb2 as language
from loquor.v1 import model_service_pb2 as model


@given(st.lists(st.floats(width=32), max_size=5000), st.integers(0, 2**32 - 1), st.booleans())
def test_a_vector_of_any_length_is_read_whole(values: list[float], tokens: int, truncated: bool) -> None:
    response = language.EmbedResponse(
        embeddings=[language.Embedding(values=values, tokens=tokens, truncated=truncated)]
    )
    (embedding,) = embeddings(response)
    assert embedding.values.tobytes() == array("f", values).tobytes()
    assert (embedding.tokens, embedding.truncated) == (tokens, truncated)


def test_lengths_around_those_of_the_length_field() -> None:
    for count in (0, 1, 31, 32, 4095, 4096, 524_287, 524_288):
        values = array("f", [0.5]) * count
        (embedding,) = embeddings(language.EmbedResponse(embeddings=[language.Embedding(values=values)]))
        assert embedding.values == values


def test_a_state_of_a_newer_server_is_unspecified() -> None:
    assert model_from(model.Model(name="m", state=77)).state is ModelState.UNSPECIFIED  # type: ignore[arg-type, unused-ignore]
