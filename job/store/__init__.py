"""Object storage: the interface `Store`, and its implementations.

The rest of the package uses only `Store`. There are implementations for S3 and compatible stores, GCS, Azure, a folder,
and memory for tests. obstore (Rust) moves the data. boto3 lists S3 and finds AWS credentials, because only boto3 knows
all sources of credentials and can address every name. No other package imports either. The driver and every executor
use this package. It knows nothing of jobs and models.
"""

from job.keys import ObjectInfo
from job.store.base import LISTING, Progress, Store
from job.store.opening import open_store

__all__ = ["LISTING", "ObjectInfo", "Progress", "Store", "open_store"]
