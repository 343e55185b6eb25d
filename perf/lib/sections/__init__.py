"""What is measured, one file a section.

Each has `TITLE`, `run(bench)`, which answers {"cells": [...], "summary": {...}}, and `show(summary)`, which prints it.
"""
