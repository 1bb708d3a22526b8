#!/bin/sh
# make run: from a fresh clone to a guest that answers. Each step is skipped when its result is there already, so a
# second run takes seconds, starts wirtd again if it died, and leaves running guests alone.
set -eu
cd "${0%/*}/.."
. tools/own-wirtd.sh
image=micro
boot_seconds=150 # until the agent of a guest that starts, or runs already, must have answered

step() { printf '\n==> %s\n' "$*"; }
agent_answers() { wirt exec "$guest" --timeout 5 -- true >/dev/null 2>&1; }

until_ready() { # from whatever state it is in, also of a start that was left by Ctrl-C
  deadline=$(($(date +%s) + boot_seconds))
  said=
  while :; do
    state=$(guest_state)
    case $state in
      '') wirt run "$image" "$guest" --wait ready && return ;;
      stopped | crashed) wirt start "$guest" --wait ready && return ;;
      paused) wirt resume "$guest" || : ;; # when it is not paused any more
      running) ! agent_answers || return 0 ;;
    esac
    case $state in
      '' | stopped | crashed) exit 1 ;; # it said why
    esac
    if [ "$(date +%s)" -ge "$deadline" ]; then
      echo "$guest is $state, and its agent has not answered for $boot_seconds s." >&2
      echo "See \`bin/wirt logs $guest\`; \`bin/wirt stop --force $guest\` ends it, then make run starts it again." >&2
      exit 1
    fi
    [ "$said" = "$state" ] || echo "$guest is $state: waiting for its agent"
    said=$state
    sleep 0.5
  done
}

step 'Packages'
tools/setup.sh
step 'Build'
tools/node tools/build.ts

step 'wirtd'
if is_ours && [ dist/.stamp -nt "$pid_file" ]; then
  echo 'wirtd is of an earlier build: starting it again (guests keep running)'
  end_daemon
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
until_ready
echo "$guest is running"

cat <<END

The guest $guest is up, and its agent answers. Try:

  bin/wirt ls                          what is there, and how it is
  bin/wirt console $guest                its serial console (detach with Ctrl-])
  bin/wirt exec $guest -- uname -a       run a command in it
  bin/wirt show $guest --isolation       how the kernel confines it
  bin/wirt host check                  what this host could do better
  bin/wirt stop $guest                   stop it; make stop stops wirtd too
END
