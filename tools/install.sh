#!/bin/sh
# make install and make uninstall: wirt, wirtd, their Node and the systemd unit under PREFIX, below DESTDIR when a
# package is built. Uninstalling takes away exactly these files; guests and their data stay where they are.
set -eu
cd "${0%/*}/.."

prefix=${PREFIX:-/usr/local}
units=${SYSTEMD_UNITS:-/lib/systemd/system}
destdir=${DESTDIR:-}
lib=$prefix/lib/wirt
systemd_runs() { [ -z "$destdir" ] && [ -d /run/systemd/system ]; }

put_launcher() {
  # The paths are known now, so the installed launcher has nothing left to find out.
  target=$destdir$prefix/bin/$1
  cat > "$target.new" <<END
#!/bin/sh
# $1, as put here by make install.
cache=\${XDG_CACHE_HOME:-\${HOME:+\$HOME/.cache}}
[ -z "\$cache" ] || export NODE_COMPILE_CACHE="\$cache/wirt/node"
${3:-}exec $2 $lib/dist/$1.mjs "\$@"
END
  chmod 755 "$target.new"
  mv -f "$target.new" "$target"
}

do_install() {
  if [ ! -f dist/wirt.mjs ] || [ ! -f dist/wirtd.mjs ]; then
    tools/setup.sh
  fi
  [ ! -x node_modules/.bin/esbuild ] || tools/node tools/build.ts
  mkdir -p "$destdir$prefix/bin" "$destdir$lib/dist" "$destdir$units"
  # dist/ also holds the chunks of the build before, which a wirtd that is running may still load.
  find dist -maxdepth 1 -type f ! -name '.*' -exec cp {} "$destdir$lib/dist/" \;
  for file in "$destdir$lib/dist/"*; do
    [ -e "dist/${file##*/}" ] || rm -f "$file"
  done
  here=bin
  . bin/launch.sh # node, and how wirtd is run by it
  node=$(readlink -f "$node")
  if [ -x node_modules/.bin/node ]; then
    # Replaced by name: the old file stays whole under a wirtd that is running from it.
    cp "$node" "$destdir$lib/node.new"
    chmod 755 "$destdir$lib/node.new"
    mv -f "$destdir$lib/node.new" "$destdir$lib/node"
    runtime=$lib/node
  else
    runtime=$node
  fi
  put_launcher wirt "$runtime"
  put_launcher wirtd "$runtime $wirtd_node_options" "export MALLOC_ARENA_MAX=$wirtd_arenas
"
  sed "s|@PREFIX@|$prefix|g" packaging/systemd/wirtd.service > "$destdir$units/wirtd.service"
  echo "installed: $destdir$prefix/bin/wirt, $destdir$prefix/bin/wirtd, $destdir$lib, $destdir$units/wirtd.service"
  if systemd_runs; then
    systemctl daemon-reload
    echo "next: systemctl enable --now wirtd && wirt host check"
  elif [ -z "$destdir" ]; then
    echo "next: start wirtd (there is no systemd here), then wirt host check"
  fi
}

do_uninstall() {
  if systemd_runs && systemctl --quiet is-active wirtd; then
    systemctl disable --now wirtd
  fi
  rm -rf "$destdir$lib"
  rm -f "$destdir$prefix/bin/wirt" "$destdir$prefix/bin/wirtd" "$destdir$units/wirtd.service"
  ! systemd_runs || systemctl daemon-reload
  echo "removed: $destdir$prefix/bin/wirt, $destdir$prefix/bin/wirtd, $destdir$lib, $destdir$units/wirtd.service"
  echo "kept: guests and images (/var/lib/wirt). Remove them yourself when you want them gone."
}

case ${1:-} in
  install) do_install ;;
  uninstall) do_uninstall ;;
  *) echo "usage: tools/install.sh install|uninstall" >&2; exit 2 ;;
esac
