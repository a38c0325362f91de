#!/usr/bin/env bash
# The quickstart: `npm run quickstart` in the root of the repository builds the library and calls this.
set -euo pipefail
cd "$(dirname "$0")"

if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
  echo "Installing the example's packages (190 MB to download: word vectors and emoji pictures) …"
  npm ci --ignore-scripts --loglevel=error >/dev/null
  export QUICKSTART_INSTALL_SECONDS=$SECONDS
fi
exec node quickstart.mjs
