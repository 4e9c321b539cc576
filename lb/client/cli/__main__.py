"""``python -m lb.client.cli``: the same as the ``lb`` command."""

import sys

from lb.client.cli import main

sys.exit(main())
