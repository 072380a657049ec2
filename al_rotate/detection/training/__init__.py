"""Training: :func:`~al_rotate.finetune` in `finetuning`, and how long it goes in `schedule`, which needs no torch."""
