#!/usr/bin/env bash
# Build the inference image and push it under one tag: push_image.sh <repository's address> <tag>.
# Provenance and SBOM are off: they would make the pushed thing an index, and each attestation a push of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
repository=${1:?"say where to: make push-image IMAGE=<the address of the repository>"}
tag=${2:?"say under which tag: make push-image TAG=v7"}

aws ecr get-login-password | docker login --username AWS --password-stdin "${repository%%/*}"
if docker manifest inspect "$repository:$tag" >/dev/null 2>&1; then
  echo "$repository:$tag is there already; tags are immutable, so there is nothing to do"
  exit 0
fi
docker buildx build --platform "${PLATFORM:-linux/amd64}" --provenance=false --sbom=false \
  --build-arg IMAGE_VERSION="$tag" --tag "$repository:$tag" --push inference_image
