"""The soak tests use the servers of the end-to-end tests."""

from tests.end_to_end.conftest import fake_repository as fake_repository
