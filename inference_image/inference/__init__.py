"""Tidegate's inference service: answers with one verified model. It knows a model's files, and nothing of training."""
