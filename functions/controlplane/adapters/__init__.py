"""AWS behind the ports; a botocore error code appears here and nowhere else."""
