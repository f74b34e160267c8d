#!/usr/bin/env bash
# Finds or builds the real servers that the system tests and benchmarks use, and prints the path of each.
#
#   tests/servers/get.sh influxd telegraf nats-server …     prints NAME=PATH, a line each
#   eval "$(tests/servers/get.sh --export influxd …)"       sets INFLUXD, …
#
# Names: influxd (InfluxDB 2), influxd1 (InfluxDB 1), victoria-metrics, telegraf, nats-server, mosquitto, promtool, chromium.
#
# Order of search: the variable that names the binary (INFLUXD, TELEGRAF, NATS_SERVER, MOSQUITTO, CHROMIUM, …),
# PATH with its version checked, this script's cache, then a build from the server's own Go module into the cache
# (${DAVY_SERVERS:-~/.cache/davy/servers}). Distribution packages (mosquitto, chromium, promtool, libmodbus) are never built:
# where one is missing the line that installs it is printed and the run fails.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${DAVY_SERVERS:-${XDG_CACHE_HOME:-$HOME/.cache}/davy/servers}

say() { printf '%s\n' "$*" >&2; }

missing() { # name, variable, package, how to build
  say "error: $1 was not found. Three ways to get it:"
  say "  1. point $2 at a binary you have: $2=/path/to/$1 make test"
  say "  2. install it so that it is in PATH: $3"
  say "  3. $4"
  exit 1
}

# find NAME VARIABLE VERSION-PATTERN VERSION-FLAG: prints a path, or nothing
find_binary() {
  local name=$1 variable=$2 pattern=$3 flag=${4:---version} path words
  path=${!variable:-}
  if [ -n "$path" ]; then
    [ -x "$path" ] || { say "error: $variable=$path is not an executable file; mend or unset $variable"; exit 1; }
    printf '%s' "$path"
    return
  fi
  for path in "$(command -v "$name" || true)" "/usr/sbin/$name"; do
    [ -n "$path" ] && [ -x "$path" ] || continue
    words=$("$path" "$flag" 2>&1 | head -n 5 || true) # some print their version and exit with an error
    if grep -qE "$pattern" <<<"$words"; then
      printf '%s' "$path"
      return
    fi
    say "note: $path is passed over: its version does not match $pattern"
  done
  return 0
}

need_go() {
  command -v go >/dev/null || missing "$1" "$2" "see the vendor's packages" "install Go 1.26 or newer; this script then builds $1 from its module"
}

build_influxd() {
  need_go influxd INFLUXD
  for tool in clang protoc; do
    command -v $tool >/dev/null || { say "error: building influxd needs $tool: apt-get install -y clang protobuf-compiler pkg-config"; exit 1; }
  done
  command -v cargo >/dev/null || { say "error: building influxd's Flux library needs cargo"; exit 1; }
  local out=$1 tools=$cache/build-tools
  mkdir -p "$tools"
  # influxdata's pkg-config builds the Flux library with cargo and hands everything else to the system's.
  GOBIN=$tools go install github.com/influxdata/pkg-config@v0.2.14
  # Flux turns warnings of newer compilers into errors; RUSTFLAGS does not reach its build scripts.
  printf '#!/bin/sh\nexec "$@" --cap-lints=allow\n' >"$tools/cap-lints"
  chmod +x "$tools/cap-lints"
  (cd "$here/influxd" && PATH="$tools:$PATH" RUSTC_WRAPPER="$tools/cap-lints" \
    RUSTUP_TOOLCHAIN="${RUSTUP_TOOLCHAIN:-$(rustup show active-toolchain 2>/dev/null | cut -d' ' -f1)}" \
    env -u CARGO_TARGET_DIR -u RUSTFLAGS go build -tags "sqlite_foreign_keys,sqlite_json" -ldflags "-s -w" -o "$out" \
    github.com/influxdata/influxdb/v2/cmd/influxd)
}

build_module() { # out, package@version, tags
  local out=$1 package=$2 tags=${3:-} scratch
  scratch=$(mktemp -d)
  GOBIN=$scratch go install ${tags:+-tags "$tags"} "$package"
  mv "$scratch"/* "$out"
  rmdir "$scratch"
}

# InfluxDB 1 is unpacked from the distribution's package without being installed: its service must not start, and its
# program has the name of InfluxDB 2's.
unpack_influxd1() {
  local out=$1 scratch
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    missing influxd1 INFLUXD1 "unpack an InfluxDB 1.x of your own" "on Debian or Ubuntu this script unpacks the package influxdb"
  scratch=$(mktemp -d)
  (cd "$scratch" && apt-get -qq download influxdb >&2 || { apt-get -qq update >&2 && apt-get -qq download influxdb >&2; }) ||
    { say "error: apt-get download influxdb failed; name a binary: INFLUXD1=/path/to/influxd"; exit 1; }
  dpkg-deb -x "$scratch"/influxdb_*.deb "$scratch/x"
  mv "$scratch/x/usr/bin/influxd" "$out"
  rm -r "$scratch"
}

get() {
  local name=$1 path
  case $name in
    influxd) path=$(find_binary influxd INFLUXD '^InfluxDB v?2\.' version) ;;
    influxd1) path=$(find_binary influxd INFLUXD1 '^InfluxDB v?1\.' version) ;;
    victoria-metrics) path=$(find_binary victoria-metrics VICTORIA_METRICS 'v1\.1[0-9][0-9]\.|^victoria-metrics' -version) ;;
    telegraf) path=$(find_binary telegraf TELEGRAF '^Telegraf (unknown|1\.)' version) ;;
    nats-server) path=$(find_binary nats-server NATS_SERVER 'v2\.1[0-9]\.') ;;
    mosquitto)
      path=$(find_binary mosquitto MOSQUITTO 'mosquitto version 2\.' -h)
      [ -n "$path" ] || missing mosquitto MOSQUITTO "apt-get install -y mosquitto" "build mosquitto 2.0 or newer from its sources"
      ;;
    promtool)
      path=$(find_binary promtool PROMTOOL '^promtool, version [23]\.')
      [ -n "$path" ] || missing promtool PROMTOOL "apt-get install -y --no-install-recommends prometheus" "unpack a release of Prometheus and name its promtool"
      ;;
    chromium)
      path=$(find_binary chromium CHROMIUM 'Chromium|Chrome')
      [ -n "$path" ] || missing chromium CHROMIUM "apt-get install -y chromium fonts-noto-cjk" "unpack any Chromium or Chrome and name its binary"
      ;;
    *) say "error: unknown server $name; known: influxd influxd1 victoria-metrics telegraf nats-server mosquitto promtool chromium"; exit 2 ;;
  esac
  if [ -z "$path" ]; then
    local version package="" tags=""
    case $name in
      influxd) version=2.7.12 ;;
      influxd1) version=1 ;;
      victoria-metrics) version=1.140.0 package=github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics@v1.140.0 ;;
      telegraf)
        version=1.37.2 package=github.com/influxdata/telegraf/cmd/telegraf@v1.37.2
        tags="custom,inputs.mqtt_consumer,inputs.modbus,outputs.influxdb_v2,outputs.discard,outputs.file,parsers.influx,serializers.influx"
        ;;
      nats-server) version=2.15.2 package=github.com/nats-io/nats-server/v2@v2.15.2 ;;
    esac
    path=$cache/$name-$version
    if [ ! -x "$path" ] && [ "$name" = influxd1 ]; then
      mkdir -p "$cache"
      unpack_influxd1 "$path.new"
      mv "$path.new" "$path"
    elif [ ! -x "$path" ]; then
      need_go "$name" "$(tr 'a-z-' 'A-Z_' <<<"$name")"
      mkdir -p "$cache"
      say "building $name $version from its Go module (once; kept in $cache) …"
      if [ -n "$package" ]; then build_module "$path.new" "$package" "$tags"; else build_influxd "$path.new"; fi
      mv "$path.new" "$path"
    fi
  fi
  printf '%s=%s\n' "$name" "$path"
}

export_form=
[ "${1:-}" = --export ] && { export_form=1; shift; }
[ $# -gt 0 ] || { say "usage: $0 [--export] influxd|influxd1|victoria-metrics|telegraf|nats-server|mosquitto|promtool|chromium …"; exit 2; }
for name in "$@"; do
  line=$(get "$name")
  if [ -n "$export_form" ]; then
    printf 'export %s=%q\n' "$(tr 'a-z-' 'A-Z_' <<<"${line%%=*}")" "${line#*=}"
  else
    printf '%s\n' "$line"
  fi
done
