"""Tidegate's inference service: answers with one verified model. It knows a model's files, and nothing of training."""

from __future__ import annotations

import os

# ONNX Runtime's wheels for Linux report their use to Microsoft and keep a device id on disk, unless this is set before
# the first import. A service that reads people's texts calls nobody; so this cannot be turned on again from outside.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
