"""What the store promises under faults, counted: `make test-faults`, and `make test-faults-long` for the large numbers.

Every module `bNN_….py` is one figure: what is counted, how many cases there were, and each that broke the promise.
"""
