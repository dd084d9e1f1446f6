"""Encoders side by side on data sets: `mmssl evaluate`, its cells, its verdicts and its page."""
