"""The command `talkies`: the only place where all rooms meet."""
