"""How good and how fast: what the figures in the documents are measured with."""
