"""Streams to series: temporality, resets, limits, expiry, snapshots.

Rule: no OTLP bytes, no names, no clock. `families` has the columns, `streams` the state of
what feeds them, `numbers` and `histograms` the arithmetic between the two.
"""
