"""Result files of evaluations, and what they can be compared with."""
