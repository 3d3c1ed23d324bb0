"""`python -m jinabert_onnx`."""

import sys

from .cli import main

sys.exit(main())
