"""Adapters for agent frameworks, one a module, which is imported by who uses that framework.

Rule: an adapter uses what the framework offers for this in public, changes nothing of what passes through, and keeps
nothing of it. It tells what the framework's own telemetry leaves out: sizes, and what runs now. Only asked to
(`counts=True`) it counts calls, as a tool or model that the library counts is counted by nobody else.
"""
