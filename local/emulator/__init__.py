"""What the emulator leaves out and no public API can add; `__main__.py` lists it."""
