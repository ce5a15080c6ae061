"""What a model that generates takes and gives.

The names are those of Triton's vLLM backend and, for single values, those of TensorRT-LLM's models; `messages` is ours.
"""

from loquor_server.open_inference.tensor_kinds import Signature, TensorKind
from loquor_server.open_inference.tensors import BOOL, BYTES, FP32, INT32, UINT32, UINT64

TEXT_INPUT, MESSAGES, STREAM, SAMPLING_PARAMETERS = "text_input", "messages", "stream", "sampling_parameters"
EXCLUDE_INPUT, BEAM_WIDTH, STOP_WORDS = "exclude_input_in_output", "beam_width", "stop_words"
TEXT_OUTPUT, FINISH_REASON, CUMULATIVE_LOGPROB = "text_output", "finish_reason", "cumulative_logprob"
LOGPROBS, INPUT_TOKENS, OUTPUT_TOKENS = "logprobs", "num_input_tokens", "num_output_tokens"

_INPUTS = {
    TEXT_INPUT: BYTES,
    MESSAGES: BYTES,
    STREAM: BOOL,
    "streaming": BOOL,
    SAMPLING_PARAMETERS: BYTES,
    EXCLUDE_INPUT: BOOL,
    "return_finish_reason": BOOL,
    "return_cumulative_logprob": BOOL,
    "return_logprobs": BOOL,
    "return_log_probs": BOOL,
    "return_num_input_tokens": BOOL,
    "return_num_output_tokens": BOOL,
    "max_tokens": INT32,
    "min_tokens": INT32,
    "temperature": FP32,
    "top_k": INT32,
    "top_p": FP32,
    "min_p": FP32,
    "repetition_penalty": FP32,
    "presence_penalty": FP32,
    "frequency_penalty": FP32,
    STOP_WORDS: BYTES,
    "seed": UINT64,
    "random_seed": UINT64,
    BEAM_WIDTH: INT32,
}
_OUTPUTS = {
    TEXT_OUTPUT: BYTES,
    FINISH_REASON: BYTES,
    CUMULATIVE_LOGPROB: FP32,
    LOGPROBS: BYTES,
    INPUT_TOKENS: UINT32,
    OUTPUT_TOKENS: UINT32,
}
LISTS = (TEXT_INPUT, STOP_WORDS)
"""The inputs that take any number of elements."""


def _input(name: str) -> TensorKind:
    return TensorKind(name, _INPUTS[name], (-1,) if name in LISTS else (1,), optional=True, batched=False)


GENERATION = Signature(
    tuple(_input(name) for name in _INPUTS),
    tuple(TensorKind(name, datatype, (-1,), batched=False) for name, datatype in _OUTPUTS.items()),
)
