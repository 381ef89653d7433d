"""``python -m tnkit`` is the command ``tnkit``."""

import sys

from tnkit.cli import main

sys.exit(main())
