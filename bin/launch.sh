# Sourced by bin/wirt, bin/wirtd and tools/node, which set `here` to their own folder. Sets `root` (the clone) and
# `node` (the clone's own Node, else a system Node of at least version 24), or stops and says the way out.
# Starts no other process on the usual path: the start-up time of `wirt` is a figure.

root=${here%/*}
[ "$root" != "$here" ] || root=$here/..

node=$root/node_modules/.bin/node
if [ ! -x "$node" ]; then
  node=$(command -v node || true)
  version=$([ -n "$node" ] && "$node" -p 'process.versions.node.split(".")[0]' || echo 0)
  if [ "$version" -lt 24 ]; then
    echo "wirt needs Node 24 or later, and this clone has no copy of its own yet. Run: make build" >&2
    exit 1
  fi
fi

# Node keeps compiled code here, by version and user; without a home it goes without.
cache=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
if [ -n "$cache" ] && [ -z "${NODE_COMPILE_CACHE:-}" ]; then
  export NODE_COMPILE_CACHE="$cache/wirt/node"
fi

# How wirtd's Node is run: memory is a figure too. A small young generation, a heap that grows slowly, and only the last
# of V8's compilers, whose code is 10 MB less than that of all three; for some processor time. Read here by
# tools/install.sh as well.
wirtd_node_options='--optimize-for-size --max-semi-space-size=1 --heap-growing-percent=20 --no-sparkplug --no-maglev'
wirtd_arenas=2
