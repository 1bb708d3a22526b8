# For run.sh and stop.sh, which read it from the top of the clone: the wirtd that make run starts, and its guest.
home=${WIRT_RUN_HOME:-.wirt} # where the log and the pid of the wirtd of make run are
log=$home/wirtd.log
pid_file=$home/wirtd.pid
guest=demo

wirt() { bin/wirt "$@"; }
answers() { wirt ls --output name >/dev/null 2>&1; }
guest_state() { # empty when there is no such guest
  wirt show "$guest" --output json 2>/dev/null | sed -n 's/^ *"state": *"\([a-z]*\)".*/\1/p' | head -n 1
}

is_ours() { # pid is that of the process that we started, and not of another one with its number
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

end_daemon() { # after is_ours
  kill "$pid"
  tries=0
  while is_ours; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ]; then
      echo "wirtd ($pid) is still there after 30 s; its log is $log" >&2
      exit 1
    fi
    sleep 0.1
  done
}
