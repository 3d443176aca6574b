"""Rules as frozen values: what they judge, how they answer, and what is built of them. Standard library only."""
