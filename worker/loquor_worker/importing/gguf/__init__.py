"""GGUF, the format of llama.cpp: one file that holds a decoder's settings, its tokenizer and its weights.

A file becomes Hugging Face's own files, which are all that a repository holds. What a file says and this does not know
is refused, never guessed: a model that is nearly right answers nonsense.
"""
