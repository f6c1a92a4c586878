"""The workflow in plain Python: resolved runs, paths, arguments of jobs, code hashes."""
