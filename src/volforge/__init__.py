"""volforge: cohorts of medical volumes to models, meshes, synthetic images and the tables of a paper."""

__version__ = "0.1.0"
