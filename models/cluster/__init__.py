"""The facts of a fleet on the workers of a Dask cluster. Only this package imports Dask, and only who uses it pays."""
