"""What else a change is likely to need: co-change, names, imports and paths, as of a date."""
