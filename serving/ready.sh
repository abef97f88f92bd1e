#!/usr/bin/env bash
# Exit status 0 when every model named has a version that answers requests.
#
#   bash ready.sh shop neighbours
#
# It reads ModelService's states from the REST page of each model, since that page
# answers 200 too while a model is loading or could not be loaded. Bash and grep alone:
# TensorFlow Serving's image has no curl, no Python and no grpcurl.
set -u
port=${REST_PORT:-8501}
for model in "$@"; do
    exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
    printf 'GET /v1/models/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' \
        "$model" >&3
    grep -q '"state": *"AVAILABLE"' <&3 || exit 1
    exec 3>&-
done
