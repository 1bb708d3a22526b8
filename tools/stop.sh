#!/bin/sh
# make stop: shuts down the guest of make run, then the wirtd that make run started. Other guests keep running without
# it, and the next wirtd takes them over again.
set -eu
cd "${0%/*}/.."
home=${WIRT_RUN_HOME:-.wirt}
pid_file=$home/wirtd.pid
guest=demo

if bin/wirt show "$guest" --output name >/dev/null 2>&1; then
  bin/wirt stop "$guest"
fi

pid=$(cat "$pid_file" 2>/dev/null || true)
if [ -z "$pid" ] || ! tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -q wirtd; then
  echo 'wirtd of this clone is not running'
  exit 0
fi
kill "$pid"
tries=0
while kill -0 "$pid" 2>/dev/null; do
  tries=$((tries + 1))
  if [ "$tries" -gt 300 ]; then
    echo "wirtd ($pid) is still there after 30 s; its log is $home/wirtd.log" >&2
    exit 1
  fi
  sleep 0.1
done
rm -f "$pid_file"
echo 'wirtd has stopped'
