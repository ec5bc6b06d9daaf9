"""The bench: every bar of weight as a ratio, measured side by side with its reference in one run.

    make bench                            # or: python -m tests.bench [--quick] [--json] [--only P1,P8]

A bar compares us with a floor (the least code that does the job, `floors.py`) or with a peer (another library that
does a similar job, installed in an environment of its own). Both run in the same process, in alternation and in both
orders; what counts is process CPU time, background threads included, or bytes.
"""
