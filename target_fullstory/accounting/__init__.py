"""Where each record ended, and which STATE may be written."""
