"""The program on the training machine: a snapshot of CSV files in, a published model out.

It knows S3 and torch. It does not know the control plane: the contract is the environment and `runs/<run id>/spec.json`
going in, `models/<run id>/manifest.json` coming out.
"""

from __future__ import annotations

import os

VERSION = "1.0.0"

# ONNX Runtime's wheels for Linux report their use to Microsoft, unless this is set before the first import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
