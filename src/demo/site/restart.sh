#!/bin/sh
# Ends the server by its pid file, starts the code that lies here now, and waits until it listens.
set -eu
run=$(cd .. && pwd)/run
mkdir -p "$run"
if [ -e "$run/pid" ]; then
  pid=$(cat "$run/pid")
  rm -f "$run/pid"
  # Gone already is fine, too. The new server waits for the old one's end by itself.
  kill "$pid" 2>/dev/null || :
fi
nohup python3 server.py </dev/null >>"$run/server.log" 2>&1 &
until [ -e "$run/pid" ]; do
  if ! kill -0 $! 2>/dev/null; then
    tail -n 5 "$run/server.log" >&2
    exit 1
  fi
  sleep 0.02
done
