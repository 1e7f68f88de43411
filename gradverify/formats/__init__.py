"""Report in, text out: one format per file, each a generator of lines; the folder is the list."""
