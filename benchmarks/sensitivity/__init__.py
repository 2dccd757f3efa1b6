"""
How the rules react when a number moves, an input is not known or is abnormal: docs/sensitivity.md and its pictures.

    .venv/bin/python benchmarks/sensitivity

Run it again whenever a number of the tables has changed: a test says so. The same tables give the same bytes.
"""
