"""The two client stacks: boto3, as nearly everyone has it, and obstore, as this job has it. One client per process."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

Get = Callable[[str], Any]
Put = Callable[[str, bytes], None]


@cache
def boto(bucket: str, pid: int) -> tuple[Get, Put]:
    """get and put through boto3."""
    import boto3
    from botocore.config import Config

    config = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
    client = boto3.client("s3", config=config)

    def get(name: str) -> Any:
        return client.get_object(Bucket=bucket, Key=name)["Body"].read()

    def put(name: str, data: bytes) -> None:
        client.put_object(Bucket=bucket, Key=name, Body=data)

    return get, put


@cache
def thin(bucket: str, pid: int) -> tuple[Get, Put]:
    """get and put through obstore."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        bucket,
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        client_options={"allow_http": True},
        virtual_hosted_style_request=False,
    )

    def get(name: str) -> Any:
        return obstore.get(store, name).bytes()

    def put(name: str, data: bytes) -> None:
        obstore.put(store, name, data)

    return get, put


def client(stack: str, bucket: str) -> tuple[Get, Put]:
    """This process's client of a stack, ``boto3`` or ``obstore``."""
    return (boto if stack == "boto3" else thin)(bucket, os.getpid())
