"""The page about a fleet of models: what a run did, which models are bad, what got worse, and where the time went.

`facts` reads the data, one module for each question computes a section (pure), `charts` and `svg` draw, and `render`
writes HTML.
"""
