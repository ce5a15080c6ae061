"""Sequences that are written on, a step at a time: which run next, where their keys and values lie, when they end.

Nothing here knows torch, a socket or a message: the hardest decisions are tested in milliseconds.
"""
