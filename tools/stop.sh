#!/bin/sh
# make stop: shuts down the guest of make run, then the wirtd that make run started. When that one died, it is started
# again for it, as its guests run on. Other guests keep running without it, and the next wirtd takes them over again.
set -eu
cd "${0%/*}/.."
. tools/own-wirtd.sh

run_directory() { # where wirtd keeps it: see bin/wirtd --help
  if [ -n "${WIRT_RUN_DIR:-}" ]; then
    echo "$WIRT_RUN_DIR"
  elif [ "$(id -u)" = 0 ]; then
    echo /run/wirt
  elif [ -n "${XDG_RUNTIME_DIR:-}" ]; then
    echo "$XDG_RUNTIME_DIR/wirt"
  else
    echo "/tmp/wirt-$(id -u)"
  fi
}

# A pid on file is of a wirtd that was not stopped by make stop.
if [ -f "$pid_file" ] && ! is_ours && ! answers && [ -n "$(ls -A "$(run_directory)/instances" 2>/dev/null)" ]; then
  echo 'wirtd of this clone has died: starting it again to stop its guest'
  start_daemon
fi

case $(guest_state) in
  '' | stopped | removing) ;;
  *) wirt stop "$guest" ;;
esac

if ! is_ours; then
  rm -f "$pid_file"
  echo 'wirtd of this clone is not running'
  exit 0
fi
end_daemon
rm -f "$pid_file"
echo 'wirtd has stopped'
