"""What `sam deploy` is told to run: the release that rolls or serves, or the placeholder before there is one."""

from __future__ import annotations

from dataclasses import dataclass

from .rollout import Rollout

# One line, for it travels in a container's command. It answers the health check on the real port, and says why
# there is nothing behind /predict yet.
PROGRAM = (
    "import http.server as h, json, os; "
    "a = (os.environ.get('BIND_ADDRESS', '0.0.0.0'), int(os.environ.get('PORT', '8080'))); "
    "say = lambda s: (s.send_response(200 if s.path == '/health' else 503), "
    "s.send_header('content-type', 'application/json'), s.end_headers(), "
    "s.wfile.write(json.dumps({'status': 'alive'} if s.path == '/health' else "
    "{'error': 'No image was pushed yet.', 'what_to_do': 'Push an inference image to the ECR repository.'})"
    ".encode())); "
    "H = type('H', (h.BaseHTTPRequestHandler,), {'do_GET': say, 'do_POST': say}); "
    "h.ThreadingHTTPServer(a, H).serve_forever()"
)
SERVE = ("serve",)
STAND_IN = ("python3", "-c", PROGRAM)
NO_RELEASE = "none"


@dataclass(frozen=True)
class Placeholder:
    image: str


def serving_release(rollout: Rollout, placeholder: Placeholder, *, repository_uri: str, bucket: str) -> dict[str, str]:
    """Attributes of the custom resource; `Command` is split at "|"."""
    release = rollout.rolling or rollout.serving
    if release is None or release.image is None:
        return {"Image": placeholder.image, "Command": "|".join(STAND_IN), "ModelUri": "", "Release": NO_RELEASE}
    return {
        "Image": f"{repository_uri}@{release.image}",
        "Command": "|".join(SERVE),
        "ModelUri": f"s3://{bucket}/models/{release.model}/" if release.model else "",
        "Release": str(release.number),
    }
