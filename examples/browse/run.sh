#!/usr/bin/env bash
# The demo: `npm run demo` in the root of the repository builds the library and calls this.
set -euo pipefail
cd "$(dirname "$0")"

if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
  echo "Installing the example's packages (150 MB to download: emoji pictures, a text model, TensorFlow.js, Vite) …"
  npm ci --ignore-scripts --loglevel=error >/dev/null
fi
exec node demo/demo.mjs "$@"
