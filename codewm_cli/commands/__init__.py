"""One verb, one file: arguments in, an exit status out."""
