"""manyfit: one scikit-learn model per partition.

For users of the models::

    from job import ModelSet

    models = ModelSet.open("s3://models/gapminder/")
    models["Rwanda"].predict(X)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from job.registry.model_set import ModelSet

__version__ = "0.1.0"

__all__ = ["ModelSet"]


def __getattr__(name: str) -> Any:
    """Import on first use: the command's start must not wait for pyarrow and deltalake."""
    if name == "ModelSet":
        from job.registry.model_set import ModelSet

        return ModelSet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
