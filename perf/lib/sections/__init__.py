"""What is measured. Each section has `run(bench)`, which answers {"cells": [...], "summary": {...}}, and `show(summary)`."""
