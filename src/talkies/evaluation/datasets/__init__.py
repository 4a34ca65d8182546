"""Public test sets out of their authors' lists and the user's videos."""
