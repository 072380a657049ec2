"""Annotators of the experiments: labels with mistakes, and a scripted annotator in Label Studio."""
