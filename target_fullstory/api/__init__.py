"""The Server API: one call with its retries, and what its responses mean."""
