"""The values in params.yaml, validated."""
