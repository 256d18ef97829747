"""The control plane: rules (domain), what they need (ports), the flows that join them, and AWS behind adapters."""
