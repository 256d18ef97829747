"""The local cloud: the same stack on one machine, with no account.

The emulator does most of it. This package adds what the emulator leaves out, and it talks to the emulator by the
public AWS API wherever there is one. Nothing here is deployed, and nothing that is deployed knows of it.

Where a person is told what the control plane will do, its own rules are asked: also without make's PYTHONPATH.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "functions"))
