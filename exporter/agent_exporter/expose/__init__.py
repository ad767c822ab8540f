"""Families to bytes: names, labels, text and OpenMetrics, negotiation, pages.

What may live here turns `model.Family` into what a scraper or a person reads, and answers
their requests. Nothing here knows OTLP bytes, keeps a total or reads a clock for data.
"""
