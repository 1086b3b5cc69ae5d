"""What the sandbox holds, in SQLite and in memory."""
