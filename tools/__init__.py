"""Small programs for people who work on or operate Tidegate."""
