"""Small real images for the tests of the container stand-in."""

from __future__ import annotations

from pathlib import Path

REGION = "eu-west-1"
REGISTRY = f"000000000000.dkr.ecr.{REGION}.amazonaws.com"
REPOSITORY = "tidegate/inference"
SERVE = "#!/usr/bin/env python3\nfrom inference.app import main\nmain()\n"

# Answers on its own address, drains on SIGTERM, and does on request what a test wants to see.
APP = """
import json, os, pathlib, signal, sys, threading, time, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = (pathlib.Path(__file__).parent.parent / "VERSION").read_text().strip()


class Handler(BaseHTTPRequestHandler):
    healthy = True

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(url.query))
        status, body = 200, {"version": VERSION}
        if url.path == "/health" and not Handler.healthy:
            status = 503
        elif url.path == "/sick":
            Handler.healthy = False
        elif url.path == "/exit":
            print("told to exit", flush=True)
            os._exit(int(asked["code"]))
        elif url.path == "/slow":
            time.sleep(float(asked["seconds"]))
        elif url.path == "/environment":
            body = dict(os.environ)
        elif url.path == "/say":
            print(asked["word"], flush=True)
        elif url.path == "/read":
            body = read(asked["bucket"], asked["key"])
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


def read(bucket, key):
    import boto3
    from botocore.exceptions import ClientError
    s3 = boto3.client("s3")
    try:
        return {"read": s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()}
    except ClientError as fault:
        return {"refused": fault.response["Error"]["Code"]}


def main():
    server = ThreadingHTTPServer((os.environ["BIND_ADDRESS"], 8080), Handler)
    server.daemon_threads = False

    def drain(*_):
        print("draining", flush=True)
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, drain)
    print("serving", VERSION, flush=True)
    server.serve_forever(poll_interval=0.01)
    server.server_close()
    print("drained", flush=True)
"""
CRASHES = 'def main():\n    raise SystemExit("the vocabulary is missing")\n'
NEVER_HEALTHY = 'import time\n\ndef main():\n    print("waiting for a model", flush=True)\n    time.sleep(3600)\n'
LEAVES_A_CHILD = (
    "import subprocess, sys\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'], start_new_session=True)\n" + APP
)


def image_folder(folder: Path, app: str = APP) -> Path:
    """A folder of the shape of inference_image/, with this code."""
    (folder / "inference").mkdir(parents=True)
    (folder / "serve").write_text(SERVE)
    (folder / "inference" / "__init__.py").write_text("")
    (folder / "inference" / "app.py").write_text(app)
    return folder
