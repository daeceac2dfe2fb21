"""Everything that only a GPU can show, and what is best done while one is at hand."""
