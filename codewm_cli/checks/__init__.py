"""What `codewm doctor` looks at: an installation or an open repository in, rows out."""
