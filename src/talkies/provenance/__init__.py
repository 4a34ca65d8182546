"""Where a video came from, said in a way that can be checked: credentials, an invisible mark, consent."""
