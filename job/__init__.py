"""manyfit: one scikit-learn model per partition."""

__version__ = "0.1.0"
