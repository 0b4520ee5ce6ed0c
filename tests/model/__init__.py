"""Claims about the model and its training, each in a file of its own."""
