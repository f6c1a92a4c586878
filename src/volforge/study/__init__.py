"""One arm of a study: its cases, its predictions, its measures."""
