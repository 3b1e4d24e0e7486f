"""Object storage: one port, and what lies behind it.

`Store` is all that the rest of the package knows: S3 and its kin, GCS, Azure, a folder, and memory for tests. obstore
(Rust) moves the data; boto3 lists S3 and finds AWS credentials, because it alone knows the whole chain and addresses
every name. No other module imports either. Called by the driver and by every executor; decides nothing about jobs or
models.
"""

from job.keys import ObjectInfo
from job.store.base import LISTING, Progress, Store
from job.store.opening import open_store

__all__ = ["LISTING", "ObjectInfo", "Progress", "Store", "open_store"]
