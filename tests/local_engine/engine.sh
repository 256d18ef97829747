#!/bin/sh
# Makes the base images for the tests that need a container engine, where no public registry can be reached:
#   tidegate-base:bookworm                       Debian with Python 3.11, this machine's CA bundle and pip configuration
#   public.ecr.aws/lambda/python:3.11-x86_64     the same with what a Lambda runtime brings, for `sam local invoke`
# Needs root, mmdebstrap and an engine that answers (DOCKER_HOST or /var/run/docker.sock).
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates \
    --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' \
    bookworm "$work/base.tar"
docker import "$work/base.tar" tidegate-debian:bookworm >/dev/null

# Only the certificates: a package index of this machine's own folders would not be there in a container.
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' > "$work/pip.conf"
cat > "$work/Dockerfile" <<'END'
FROM tidegate-debian:bookworm
COPY pip.conf /etc/pip.conf
END
docker build --quiet --tag tidegate-base:bookworm "$work" >/dev/null

cat > "$work/bootstrap" <<'END'
#!/bin/sh
export PYTHONPATH=/var/task:/var/runtime
exec python3 -m awslambdaric "$_HANDLER"
END
chmod 0755 "$work/bootstrap"
cat > "$work/Dockerfile" <<'END'
FROM tidegate-base:bookworm
RUN python3 -m pip install --no-cache-dir --target /var/runtime awslambdaric==3.1.1 boto3==1.43.102
COPY bootstrap /var/runtime/bootstrap
ENV LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime
WORKDIR /var/task
END
docker build --quiet --tag public.ecr.aws/lambda/python:3.11-x86_64 "$work" >/dev/null
docker images
