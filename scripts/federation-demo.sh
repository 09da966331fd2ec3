#!/usr/bin/env bash
# Two homeservers on loopback that speak with each other over TLS, with a certification authority of their own,
# and a user on each. Ctrl-C ends both; the next run goes on with the same data.
#
#   scripts/federation-demo.sh        PILOTLIGHT_BIN: the program (default target/quick/pilotlight)
#                                     DEMO_DIR: where the data is kept (default target/federation-demo)
#                                     DEMO_PORT: the first of four ports (default 8108)
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$here/target}
bin=${PILOTLIGHT_BIN:-$target/quick/pilotlight}
dir=${DEMO_DIR:-$target/federation-demo}
port=${DEMO_PORT:-8108}
[ -x "$bin" ] || { echo "federation-demo: there is no $bin: run \`make federation-demo\`" >&2; exit 1; }

"$here/scripts/make-ca.sh" "$dir/ca" localhost,127.0.0.1,::1
pids=()

# Ends what was started here, by its process ID, and waits for it.
stop() {
  trap - EXIT INT TERM
  [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
  wait
}
trap stop EXIT
trap 'exit 0' INT TERM

# server NAME CLIENT_PORT FEDERATION_PORT USER: its configuration, the user, and the process.
server() {
  local name=$1 client=$2 federation=$3 user=$4 config=$dir/$1.toml
  cat >"$config" <<TOML
server_name = "localhost:$federation"
data_dir = "$dir/$name"
listen = "127.0.0.1:$client"
registration = "open"

[presence]
# Changes are seen sooner than with the usual ten seconds.
batch_window = "1s"

[federation]
listen = "127.0.0.1:$federation"
tls_certificate = "$dir/ca/localhost.pem"
tls_private_key = "$dir/ca/localhost.key"
trusted_ca = ["$dir/ca/ca.pem"]
allow_addresses = ["127.0.0.0/8", "::1/128"]
TOML
  "$bin" serve --config "$config" >"$dir/$name.out" 2>"$dir/$name.log" &
  local pid=$!
  pids+=("$pid")
  until grep -q '^listening on ' "$dir/$name.out"; do
    kill -0 "$pid" 2>/dev/null || { tail -n 5 "$dir/$name.log" >&2; exit 1; }
    sleep 0.1
  done
  # The second run finds the account there.
  local added
  added=$("$bin" user add "$user" --password-stdin --config "$config" <<<"$user-$user" 2>&1) \
    || [[ $added == *"there is an account"* ]] || { echo "$added" >&2; exit 1; }
}

server here "$port" "$((port + 2))" alice
server there "$((port + 1))" "$((port + 3))" bob

cat <<TEXT

Two homeservers are running. Open each in a window of its own:

  http://127.0.0.1:$port    log in as alice, password alice-alice
  http://127.0.0.1:$((port + 1))    log in as bob, password bob-bob

In Alice's window add @bob:localhost:$((port + 3)) to the list; in Bob's, accept, and add @alice:localhost:$((port + 2)). Then
change a state, switch one window off, or go idle, and look at the other one. Or make a room in Alice's window, invite
@bob:localhost:$((port + 3)) to it, and talk.

What the servers do meanwhile (in another terminal):

  $bin peers --watch --config $dir/here.toml
  $bin check localhost:$((port + 3)) --signed --config $dir/here.toml
  tail -f $dir/here.log $dir/there.log

Ctrl-C ends both; the data stays in $dir.
TEXT
wait -n || true
echo "federation-demo: a server has ended" >&2
tail -n 3 "$dir/here.log" "$dir/there.log" >&2
exit 1
