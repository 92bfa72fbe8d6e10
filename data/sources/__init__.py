"""Where facts come from: one module per format, each filling a staged batch."""
