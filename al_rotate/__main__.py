"""``python -m al_rotate`` is the al-rotate command; torchrun starts it this way."""

import sys

from .cli import main

sys.exit(main())
