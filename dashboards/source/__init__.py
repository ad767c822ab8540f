"""The boards as data (a file each) and the layer that makes Grafana's JSON of them."""
