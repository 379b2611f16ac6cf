#!/bin/sh
# Brings a running stack to images that were built before, and no request fails: sh deploy/upgrade.sh
# New APIs start beside the old ones, which are stopped once the new ones are healthy; then the workers are replaced.
set -eu
compose=${COMPOSE:-docker compose}
docker=${compose%compose}
patience_s=180
cd "$(dirname "$0")/.."

old=$($compose ps --quiet api)
[ -n "$old" ] || { echo "No API is running. Start one: $compose up --detach" >&2; exit 1; }
apis=$(echo "$old" | wc -l)
workers=$($compose ps --quiet worker | wc -l)

# the old code goes on with the new tables: docs/operations.md has the rule
$compose run --rm --no-deps migrate
$compose up --detach migrate
$compose up --detach --no-recreate --scale "api=$((2 * apis))" api
for container in $($compose ps --quiet api); do
  until [ "$($docker inspect --format '{{.State.Health.Status}}' "$container")" = healthy ]; do
    patience_s=$((patience_s - 1))
    [ $patience_s -gt 0 ] || { echo "The new API does not become healthy: $compose logs api" >&2; exit 1; }
    sleep 1
  done
done
for container in $old; do
  $docker stop --time 30 "$container"
  $docker rm "$container"
done
$compose up --detach --scale "api=$apis" --scale "worker=$workers"
