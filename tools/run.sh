#!/bin/sh
# make run: from a fresh clone to a guest that answers. Each step is skipped when its result is there already, so a
# second run takes seconds, starts wirtd again if it died, and leaves running guests alone.
set -eu
cd "${0%/*}/.."
home=${WIRT_RUN_HOME:-.wirt} # where the log and the pid of the wirtd of make run are
log=$home/wirtd.log
pid_file=$home/wirtd.pid
guest=demo
image=micro

step() { printf '\n==> %s\n' "$*"; }
wirt() { bin/wirt "$@"; }
answers() { wirt ls --output name >/dev/null 2>&1; }

is_ours() { # the process that we started, and not another one with its number
  pid=$(cat "$pid_file" 2>/dev/null || true)
  [ -n "$pid" ] && tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -q wirtd
}

start_daemon() {
  mkdir -p "$home"
  setsid bin/wirtd >> "$log" 2>&1 < /dev/null &
  pid=$!
  echo "$pid" > "$pid_file"
  tries=0
  until answers; do
    tries=$((tries + 1))
    if ! kill -0 "$pid" 2>/dev/null || [ "$tries" -gt 150 ]; then
      echo "wirtd did not come up; the end of $log says:" >&2
      tail -n 15 "$log" >&2
      exit 1
    fi
    sleep 0.2
  done
}

step 'Packages'
tools/setup.sh
step 'Build'
tools/node tools/build.ts

step 'wirtd'
if is_ours && [ dist/.stamp -nt "$pid_file" ]; then
  echo 'wirtd is of an earlier build: starting it again (guests keep running)'
  kill "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  start_daemon
elif answers; then
  echo 'wirtd is running'
else
  start_daemon
  echo "wirtd is running, its log is $log"
fi

step "Image $image"
if wirt image show "$image" --output name >/dev/null 2>&1; then
  echo "image $image is there"
else
  wirt image build "$image"
fi

step "Guest $guest"
state=$(wirt show "$guest" --output json 2>/dev/null | sed -n 's/^ *"state": *"\([a-z]*\)".*/\1/p' | head -n 1)
case $state in
  '') wirt run "$image" "$guest" --wait ready ;;
  running) echo "$guest is running" ;;
  paused) wirt resume "$guest" ;;
  *) wirt start "$guest" --wait ready ;;
esac

cat <<END

The guest $guest is up, and its agent answers. Try:

  bin/wirt ls                          what is there, and how it is
  bin/wirt console $guest                its serial console (detach with Ctrl-])
  bin/wirt exec $guest -- uname -a       run a command in it
  bin/wirt show $guest --isolation       how the kernel confines it
  bin/wirt host check                  what this host could do better
  bin/wirt stop $guest                   stop it; make stop stops wirtd too
END
