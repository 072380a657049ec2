"""What a training makes of the same labels: how long it goes, where it starts, what its rate does."""
