"""The page about a fleet of models: what a run did, which models are bad, what got worse, and where the time went.

`facts` reads, the modules named after questions count (pure), `charts` and `svg` draw, `render` writes HTML.
"""
