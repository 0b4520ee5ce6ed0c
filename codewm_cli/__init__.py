"""The codewm command line: talks to people, holds no mathematics."""
