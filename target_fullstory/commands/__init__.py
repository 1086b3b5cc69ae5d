"""The operator's commands beside the load: check, preview, jobs and replay."""
