"""Speed and memory against the peers, one command a table; `make bench` runs them all.

Every table compares its arms in the same run, on the same prompts, in alternation: see `benchmarks.arms`.
"""
