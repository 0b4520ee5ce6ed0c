"""Git history in, chains of (state, action, next-state) out."""
