"""The local cloud: the same stack on one machine, with no account.

The emulator does most of it. This package adds what the emulator leaves out, and it talks to the emulator by the
public AWS API wherever there is one. Nothing here is deployed, and nothing that is deployed knows of it.
"""
