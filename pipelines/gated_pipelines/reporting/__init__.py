"""What a run did: one object for programs, words and a page for people."""
