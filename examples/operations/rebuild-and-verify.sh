#!/usr/bin/env bash
# Policy: an index is rebuilt beside the one in use, measured, and taken only if it finds enough.
#   rebuild-and-verify.sh <dataset> <field> [options of dreamdb rebuild-ivf]
#   MIN_RECALL  share of the true nearest that it has to find, default 0.95     QUERIES  how many to measure on, default 50
# Readers and writers go on meanwhile: the rebuild happens on a branch, and what is appended to the dataset until then is kept by the
# merge. Exit codes are those of dreamdb; 5 when the new index is not good enough, and then nothing has changed.
set -euo pipefail
dataset=$1 field=$2
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
stamp=$(date -u +%Y%m%dT%H%M%SZ)-$$
branch="$dataset-rebuild-$stamp"

dreamdb branch "$dataset" "$branch" --quiet
# Names of branches are not given twice, so a failed attempt leaves nothing in the way of the next.
trap 'dreamdb refs --delete "$branch" --quiet' EXIT

dreamdb rebuild-ivf "$branch" --field "$field" --quiet "$@"
dreamdb diff "$dataset" "$branch" --limit 0 --json | node -e '
  const { added, changed } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
  if (added + changed > 0) { console.error(`the rebuild has other records: ${added} more, ${changed} changed`); process.exit(5); }'
node "$here/verify.mjs" "$branch" "$field" "${QUERIES:-50}" "${MIN_RECALL:-0.95}"
dreamdb fsck --sample "${FSCK_SAMPLE:-0.05}" --seed "$(date +%j | sed 's/^0*//')" --quiet
dreamdb merge "$dataset" "$branch" --quiet
