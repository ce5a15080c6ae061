"""The Open Inference Protocol with Triton's extensions, as unmodified clients speak it (docs/open-inference.md)."""
