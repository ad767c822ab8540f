"""Doors in: bytes of OTLP to `ingest`, and the protocol's answers back.

May live here: OTLP/HTTP, OTLP/gRPC, content encodings, the bodies of answers and errors.
What a request holds is not looked at: a door hands OTLP protobuf to the callable
`ingest(signal, body) -> Answer`, and tells `refuse(signal, protocol, reason)` of every
request that did not get that far.
"""
