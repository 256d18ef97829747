#!/bin/sh
# Makes the base images for the tests that need a container engine, where no public registry can be reached:
#   tidegate-base:bookworm                       Debian's Python in the manner of Docker's python:slim, with this machine's CA bundle
#   public.ecr.aws/lambda/python:3.11-<machine>  the same with what a Lambda runtime brings, for `sam local invoke`
# Needs root, mmdebstrap and an engine that answers (DOCKER_HOST or /var/run/docker.sock). What is there already, made by
# this very file with these very certificates, stays.
set -eu

case "$(uname -m)" in aarch64 | arm64) machine=arm64 ;; *) machine=x86_64 ;; esac
base=tidegate-base:bookworm
lambda=public.ecr.aws/lambda/python:3.11-$machine
made=$(cat "$0" /etc/ssl/certs/ca-certificates.crt | sha256sum | cut -d' ' -f1)

is_made() { [ "$(docker image inspect --format '{{index .Config.Labels "tidegate.made"}}' "$1" 2>/dev/null)" = "$made" ]; }
if is_made "$base" && is_made "$lambda"; then
    echo "The base images are there: $base, $lambda"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# As in Docker's own images of Python: `python` is Python, and pip installs without asking.
mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates \
    --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' \
    --customize-hook='ln -s python3 "$1/usr/bin/python"; rm "$1"/usr/lib/python3*/EXTERNALLY-MANAGED' \
    bookworm "$work/base.tar"
docker import "$work/base.tar" tidegate-debian:bookworm >/dev/null

# Only the certificates: a package index of this machine's own folders would not be there in a container.
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' > "$work/pip.conf"
cat > "$work/Dockerfile" <<DOCKERFILE
FROM tidegate-debian:bookworm
LABEL tidegate.made=$made
COPY pip.conf /etc/pip.conf
DOCKERFILE
docker build --quiet --tag "$base" "$work" >/dev/null

cat > "$work/bootstrap" <<'BOOTSTRAP'
#!/bin/sh
export PYTHONPATH=/var/task:/var/runtime
exec python3 -m awslambdaric "$_HANDLER"
BOOTSTRAP
chmod 0755 "$work/bootstrap"
cat > "$work/Dockerfile" <<DOCKERFILE
FROM $base
RUN python3 -m pip install --no-cache-dir --target /var/runtime awslambdaric==3.1.1 boto3==1.43.102
COPY bootstrap /var/runtime/bootstrap
ENV LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime
WORKDIR /var/task
DOCKERFILE
docker build --quiet --tag "$lambda" "$work" >/dev/null
docker image ls
