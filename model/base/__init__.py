"""The base model that ships in the package, as data."""
