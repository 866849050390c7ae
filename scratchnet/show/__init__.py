"""Backprop stage by stage in the terminal, and figures of training runs, models and their mistakes."""
