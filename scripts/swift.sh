#!/usr/bin/env bash
# OpenStack Swift with its S3 interface, on loopback: a server that answers 501 to conditional puts, for the tests.
#
#   scripts/swift.sh install             Debian packages (needs root)
#   scripts/swift.sh start | env | status | stop
#
# `stop` removes all data. Settings: SWIFT_DIR, SWIFT_PORT (and the 3 ports after it).
set -euo pipefail

dir=${SWIFT_DIR:-${TMPDIR:-/tmp}/dreamdb-swift}
port=${SWIFT_PORT:-18580}
servers=(account container object proxy)
accessKey=test:tester
secretKey=testing

fail() {
  echo "swift.sh: $*" >&2
  exit 1
}

port_of() {
  case $1 in
  proxy) echo "$port" ;;
  account) echo $((port + 1)) ;;
  container) echo $((port + 2)) ;;
  object) echo $((port + 3)) ;;
  esac
}

is_alive() { [ -s "$dir/$1.pid" ] && kill -0 "$(cat "$dir/$1.pid")" 2>/dev/null; }

is_healthy() {
  [ "$(curl -s -o /dev/null -m 2 -w '%{http_code}' "http://127.0.0.1:$(port_of "$1")/healthcheck" 2>/dev/null)" = 200 ]
}

write_storage_conf() {
  cat >"$dir/$1.conf" <<CONF
[DEFAULT]
devices = $dir/srv
swift_dir = $dir
mount_check = false
bind_ip = 127.0.0.1
bind_port = $(port_of "$1")
workers = 0
user = $(id -un)
recon_cache_path = $dir/cache
fallocate_reserve = 0
disable_fallocate = true
log_level = WARNING
[pipeline:main]
pipeline = healthcheck $1-server
[filter:healthcheck]
use = egg:swift#healthcheck
[app:$1-server]
use = egg:swift#$1
CONF
}

# The cache filter is asked for by tempauth; nothing listens there, and it does without.
write_proxy_conf() {
  cat >"$dir/proxy.conf" <<CONF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
swift_dir = $dir
workers = 0
user = $(id -un)
log_level = WARNING
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats s3api tempauth copy bulk slo dlo proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$((port + 9))
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
dns_compliant_bucket_names = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = $secretKey .admin
[filter:copy]
use = egg:swift#copy
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
CONF
}

start() {
  local name i tool
  if is_alive proxy && is_healthy proxy; then return 0; fi
  for tool in swift-proxy-server swift-account-server swift-container-server swift-object-server curl; do
    command -v "$tool" >/dev/null || fail "$tool is missing: run scripts/swift.sh install as root"
  done
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then fail "port $port is taken; set SWIFT_PORT"; fi
  if [ -f "$dir/proxy.conf" ]; then stop; fi
  mkdir -p "$dir/srv/d1" "$dir/cache" "$dir/log"
  cd "$dir"
  for name in account container object; do
    swift-ring-builder "$name.builder" create 4 1 0 >/dev/null
    swift-ring-builder "$name.builder" add --region 1 --zone 1 --ip 127.0.0.1 --port "$(port_of "$name")" \
      --device d1 --weight 1 >/dev/null
    swift-ring-builder "$name.builder" rebalance >/dev/null
    write_storage_conf "$name"
  done
  write_proxy_conf
  for name in "${servers[@]}"; do
    setsid "swift-$name-server" "$dir/$name.conf" -v </dev/null >"$dir/log/$name.out" 2>&1 &
    echo $! >"$dir/$name.pid"
  done
  for name in "${servers[@]}"; do
    for ((i = 0; i < 300; i++)); do is_healthy "$name" && continue 2 || sleep 0.1; done
    tail -n 15 "$dir"/log/*.out >&2
    fail "the $name server did not come up; its logs stand above"
  done
}

# Only a directory that `start` has made is ever removed.
stop() {
  local name
  for name in "${servers[@]}"; do
    if is_alive "$name"; then kill "$(cat "$dir/$name.pid")" || true; fi
  done
  for name in "${servers[@]}"; do
    for _ in $(seq 30); do is_alive "$name" && sleep 0.1 || break; done
    if is_alive "$name"; then kill -KILL "$(cat "$dir/$name.pid")" || true; fi
  done
  if [ -f "$dir/proxy.conf" ]; then rm -rf -- "$dir"; fi
}

case ${1:-} in
install)
  command -v swift-proxy-server >/dev/null && exit 0
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends swift-proxy swift-account swift-container swift-object curl >/dev/null
  ;;
start) start ;;
env)
  printf 'export AWS_ENDPOINT_URL=http://127.0.0.1:%s AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s\n' \
    "$port" "$accessKey" "$secretKey"
  ;;
status)
  for name in "${servers[@]}"; do is_alive "$name" && echo "$name up" || echo "$name down"; done
  is_healthy proxy
  ;;
stop) stop ;;
*) fail "install, start, env, status or stop" ;;
esac
