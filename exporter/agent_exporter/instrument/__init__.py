"""The library inside agents: measures what they do and pushes it (docs/library.md)."""
