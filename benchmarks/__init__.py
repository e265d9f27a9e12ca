"""Job Progress beside its peers and beside the raw store, as ratios taken in one run.

`python -m benchmarks` (or `make bench`) measures everything, prints a table and writes
`benchmarks/RESULTS.md`. It takes about seven minutes and needs the dependency group `bench`.
Nanoseconds differ from machine to machine; ratios to a peer that ran in the same minutes on
the same cores differ far less, so goals are set on those.
"""
