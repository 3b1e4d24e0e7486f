"""Fixtures that several unit tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def s3_endpoint(s3_server: str) -> str:
    """Address of an S3 server on loopback."""
    return s3_server
