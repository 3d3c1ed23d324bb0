"""Corpora of any size to vectors: planned once, embedded in shards, joined at the end; what is done survives a kill.

`run` is the order of events. `plan` is data that travels to other processes and machines; `planning` makes it of
files, with `lines` (text, JSON lines, CSV) and `tables` (Parquet, Arrow). `shards` embeds one shard; `parts` keeps what
is done; `joining` makes the output of it. `run` has them done here, `ray_engine` on a cluster.
Only `tables` and `parquet_out` need pyarrow.
"""
