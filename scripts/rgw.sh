#!/usr/bin/env bash
# A real S3 server for the tests: one Ceph RADOS Gateway with one monitor and one OSD, on loopback, without systemd.
#
#   scripts/rgw.sh install            Debian packages (needs root)
#   scripts/rgw.sh start [--durable]  data in memory; --durable keeps it on disk through kill -9 (BlueStore)
#   scripts/rgw.sh env                what to export: AWS_* credentials and the endpoint
#   scripts/rgw.sh status | kill | revive | stop
#
# `kill` ends everything with SIGKILL and `revive` starts it on what is left. `stop` removes all data.
# Settings: RGW_DIR, RGW_PORT (and the 19 ports after it).
set -euo pipefail

dir=${RGW_DIR:-${TMPDIR:-/tmp}/dreamdb-rgw}
port=${RGW_PORT:-18480}
monPort=$((port + 1))
conf=$dir/ceph.conf
accessKey=dreamdb-test
secretKey=dreamdb-test-secret
daemons=(mon osd rgw)

fail() {
  echo "rgw.sh: $*" >&2
  exit 1
}

is_alive() { [ -s "$dir/$1.pid" ] && kill -0 "$(cat "$dir/$1.pid")" 2>/dev/null; }

answers() { [ "$(curl -s -o /dev/null -m 2 -w '%{http_code}' "http://127.0.0.1:$port/" 2>/dev/null)" = 200 ]; }

spawn() {
  local name=$1
  shift
  setsid "$@" </dev/null >"$dir/log/$name.out" 2>&1 &
  echo $! >"$dir/$name.pid"
}

# wait_for <what> <seconds> <command…>
wait_for() {
  local what=$1 tenths=$(($2 * 10)) i
  shift 2
  for ((i = 0; i < tenths; i++)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  tail -n 20 "$dir"/log/*.out >&2
  fail "$what did not come up; its logs stand above"
}

spawn_all() {
  spawn mon ceph-mon -c "$conf" -i a -f
  if [ ! -e "$dir/osd/ready" ]; then
    local id
    id=$(cat /proc/sys/kernel/random/uuid)
    wait_for "the monitor" 30 timeout 5 ceph -c "$conf" --connect-timeout 3 osd new "$id" 0
    ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$id" >"$dir/log/mkfs-osd.out" 2>&1
  fi
  spawn osd ceph-osd -c "$conf" -i 0 -f
  spawn rgw radosgw -c "$conf" -n client.rgw -f
  wait_for "the gateway" 90 answers
}

stop_all() {
  local signal=$1 name
  for name in "${daemons[@]}"; do
    if is_alive "$name"; then kill "-$signal" "$(cat "$dir/$name.pid")" || true; fi
  done
  for name in "${daemons[@]}"; do
    for _ in $(seq 50); do is_alive "$name" && sleep 0.1 || break; done
    if is_alive "$name"; then kill -KILL "$(cat "$dir/$name.pid")" || true; fi
    rm -f "$dir/$name.pid"
  done
}

# tcp_nodelay: without it a small GET takes 48 ms. cephx: the gateway insists on a secure mode that "none" lacks.
# Garbage is collected by nobody: the data lives for one run.
write_conf() {
  local store=$1
  cat >"$conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon_host = [v2:127.0.0.1:$monPort]
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
public_network = 127.0.0.0/8
ms_bind_msgr1 = false
ms_bind_port_min = $((port + 2))
ms_bind_port_max = $((port + 19))
keyring = $dir/keyring
auth_allow_insecure_global_id_reclaim = false
run_dir = $dir/run
admin_socket = $dir/run/\$name.asok
log_file = $dir/log/\$name.log
crash_dir = $dir/log
log_max_recent = 100
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
[mon]
mon_data = $dir/mon
mon_cluster_log_file = $dir/log/cluster.log
mon_data_avail_crit = 1
mon_data_avail_warn = 1
[osd]
osd_data = $dir/osd
osd_objectstore = $store
memstore_device_bytes = 6442450944
bluestore_block_size = 2147483648
bluestore_fsck_on_mount = false
osd_memory_target = 939524096
osd_max_object_name_len = 2048
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw_thread_pool_size = 32
rgw_enable_usage_log = false
rgw_enable_ops_log = false
rgw_enable_apis = s3, admin
rgw_run_sync_thread = false
rgw_gc_obj_min_wait = 5
rgw_gc_processor_period = 5
rgw_data = $dir/rgw
CONF
}

make_keys() {
  local make=(ceph-authtool "$dir/keyring" --gen-key)
  "${make[@]}" -C -n mon. --cap mon 'allow *' >/dev/null
  "${make[@]}" -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' >/dev/null
  "${make[@]}" -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' --cap mgr 'allow profile osd' >/dev/null
  "${make[@]}" -n client.rgw --cap mon 'allow rw' --cap osd 'allow rwx' >/dev/null
}

start() {
  local store=$1 tool
  if is_alive rgw && answers; then return 0; fi
  for tool in ceph-mon ceph-osd radosgw curl; do
    command -v "$tool" >/dev/null || fail "$tool is missing: run scripts/rgw.sh install as root"
  done
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then fail "port $port is taken; set RGW_PORT"; fi
  if [ -f "$conf" ]; then stop; fi
  mkdir -p "$dir"/{mon,osd,run,log}
  write_conf "$store"
  make_keys
  monmaptool --create --clobber --fsid "$(sed -n 's/^fsid = //p' "$conf")" --addv a "[v2:127.0.0.1:$monPort]" "$dir/monmap" >/dev/null
  ceph-mon -c "$conf" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring" >"$dir/log/mkfs-mon.out" 2>&1
  spawn_all
  radosgw-admin -c "$conf" -n client.admin user create --uid=test --display-name=test \
    --access-key="$accessKey" --secret="$secretKey" >"$dir/log/user.out" 2>&1
}

# Only a directory that `start` has made is ever removed.
stop() {
  stop_all TERM
  if [ -f "$conf" ]; then rm -rf -- "$dir"; fi
}

case ${1:-} in
install)
  command -v radosgw >/dev/null && command -v ceph-mon >/dev/null && command -v ceph-osd >/dev/null && exit 0
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends radosgw ceph-mon ceph-osd curl >/dev/null
  ;;
start)
  case ${2:-} in
  --durable) start bluestore ;;
  '') start memstore ;;
  *) fail "unknown option $2" ;;
  esac
  ;;
env)
  printf 'export AWS_ENDPOINT_URL=http://127.0.0.1:%s AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s\n' \
    "$port" "$accessKey" "$secretKey"
  ;;
status)
  for name in "${daemons[@]}"; do
    if is_alive "$name"; then
      echo "$name up, $(awk '/VmRSS/{print int($2/1024)}' "/proc/$(cat "$dir/$name.pid")/status") MiB"
    else
      echo "$name down"
    fi
  done
  answers
  ;;
kill) stop_all KILL ;;
revive) spawn_all ;;
stop) stop ;;
*) fail "install, start [--durable], env, status, kill, revive or stop" ;;
esac
