"""What a run shows: tables, figures, the page, and where everything came from."""
