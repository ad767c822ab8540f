"""Bytes to points and events: no I/O, no clock, no counters.

`wire` frames requests, `points` is the main path, `records` parses single things in full,
`json` turns OTLP/JSON into the protobuf that the others read.
"""
