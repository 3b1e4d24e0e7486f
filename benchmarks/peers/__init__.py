"""The other ways to fit one model per partition: one file each, every one with a class ``Peer``.

Each fits the same estimator on the same objects and uploads each model by itself to ``<output>/<key>.joblib``.
"""
