"""A stand-in for the container engine: ECS tasks become processes where no engine is installed.

The emulator talks to it as to a real engine, over a unix socket. Every "container" runs out of the layers of
exactly the image digest that its task definition names, on a 127.x.y.z address of its own, with the credentials of
its task role and nothing of its user's environment. It is a convenience, not a sandbox: a process sees the
machine's files and uses the Python and the packages of the virtual environment that started the stand-in.
"""
