"""The table of the RPCs that the client calls."""

from loquor._transport import Method
from loquor.v1 import language_service_pb2 as language
from loquor.v1 import model_service_pb2 as model
from loquor.v1 import tensor_service_pb2 as tensor

_LANGUAGE, _MODEL, _TENSOR = (f"/loquor.v1.{name}Service/" for name in ("Language", "Model", "Tensor"))

EMBED = Method(_LANGUAGE + "Embed", language.EmbedRequest.SerializeToString, language.EmbedResponse.FromString)
EMBED_STREAM = Method(
    _LANGUAGE + "EmbedStream", language.EmbedStreamRequest.SerializeToString, language.EmbedStreamResponse.FromString
)
CLASSIFY = Method(
    _LANGUAGE + "Classify", language.ClassifyRequest.SerializeToString, language.ClassifyResponse.FromString
)
TAG_TOKENS = Method(
    _LANGUAGE + "TagTokens", language.TagTokensRequest.SerializeToString, language.TagTokensResponse.FromString
)
GENERATE = Method(
    _LANGUAGE + "Generate", language.GenerateRequest.SerializeToString, language.GenerateResponse.FromString
)
GENERATE_BATCH = Method(
    _LANGUAGE + "GenerateBatch",
    language.GenerateBatchRequest.SerializeToString,
    language.GenerateBatchResponse.FromString,
)
TOKENIZE = Method(
    _LANGUAGE + "Tokenize", language.TokenizeRequest.SerializeToString, language.TokenizeResponse.FromString
)
DETOKENIZE = Method(
    _LANGUAGE + "Detokenize", language.DetokenizeRequest.SerializeToString, language.DetokenizeResponse.FromString
)
LIST_MODELS = Method(
    _MODEL + "ListModels", model.ListModelsRequest.SerializeToString, model.ListModelsResponse.FromString
)
GET_MODEL = Method(_MODEL + "GetModel", model.GetModelRequest.SerializeToString, model.GetModelResponse.FromString)
LOAD_MODEL = Method(_MODEL + "LoadModel", model.LoadModelRequest.SerializeToString, model.LoadModelResponse.FromString)
UNLOAD_MODEL = Method(
    _MODEL + "UnloadModel", model.UnloadModelRequest.SerializeToString, model.UnloadModelResponse.FromString
)
INFER = Method(_TENSOR + "Infer", tensor.InferRequest.SerializeToString, tensor.InferResponse.FromString)
