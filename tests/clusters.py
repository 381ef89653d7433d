"""Clusters of dask as the tests begin them: several tests may run at once."""

#: None would be port 8787, taken where another cluster stands: dask warns, and a warning is an error here.
ANY_PORT = ":0"
TWO_WORKERS = {
    "n_workers": 2,
    "threads_per_worker": 1,
    "processes": True,
    "dashboard_address": ANY_PORT,
    "silence_logs": 50,
}
