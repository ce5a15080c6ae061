"""What `deploy/check.py` checks, and the tools it fetches for that."""
