"""The commands of al-rotate, by subject."""
