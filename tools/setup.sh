#!/bin/sh
# Gets a machine ready to build and run Wirt: the Debian packages that are missing, then the npm packages of the lock
# file (Node 24 among them). Says what it is about to do before it does it; does nothing when nothing is missing.
# Options: --test also wants what only the tests need; --npm leaves the system alone.
set -eu
cd "${0%/*}/.."

want_test=
want_system=1
for option in "$@"; do
  case $option in
    --test) want_test=1 ;;
    --npm) want_system= ;;
    *) echo "setup: unknown option $option" >&2; exit 2 ;;
  esac
done

say() { printf 'setup: %s\n' "$*"; }

# What wirtd calls: qemu and qemu-img; cpio, zstd, xz and dpkg-deb to build the micro image; mmdebstrap, mke2fs and mtools
# to build a Debian image; genisoimage for cloud-init's seeds; setfacl to lend a layer; setpriv; ps; ip and tc, nft, dnsmasq and
# ping for networks. What wirt calls: ssh.
packages='qemu-utils cpio zstd xz-utils util-linux iproute2 procps ca-certificates'
packages="$packages mmdebstrap debian-archive-keyring mtools dosfstools e2fsprogs genisoimage acl openssh-client"
packages="$packages nftables dnsmasq-base iputils-ping"
case $(uname -m) in
  x86_64) packages="qemu-system-x86 ovmf $packages" ;;
  aarch64) packages="qemu-system-arm qemu-efi-aarch64 $packages" ;;
  *) echo "setup: wirt runs on x86_64 and aarch64, and this is $(uname -m)" >&2; exit 1 ;;
esac
# libfaketime sets a daemon's clock back and no other; fio measures disks, iperf3 networks; guests in tests are busybox and passt is one way
# out for them.
[ -z "$want_test" ] || packages="$packages git libfaketime fio iperf3 busybox-static passt"
command -v npm >/dev/null 2>&1 || packages="$packages nodejs npm"

is_debian() {
  command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1 &&
    ( . "${WIRT_OS_RELEASE:-/etc/os-release}"; case " ${ID:-} ${ID_LIKE:-} " in *' debian '*) exit 0 ;; *) exit 1 ;; esac )
}

missing_packages() {
  for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || printf ' %s' "$package"
  done
}

missing_commands() {
  case $(uname -m) in x86_64) qemu=qemu-system-x86_64 ;; *) qemu=qemu-system-aarch64 ;; esac
  for command in "$qemu" qemu-img cpio zstd xz setpriv ip nft dnsmasq ps dpkg-deb genisoimage ssh npm; do
    command -v "$command" >/dev/null 2>&1 || printf ' %s' "$command"
  done
}

install_packages() {
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  as_root=
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
      echo "setup: these Debian packages are missing, and there is no sudo here. As root, run:" >&2
      echo "  apt-get install --no-install-recommends$missing" >&2
      exit 1
    fi
    as_root=sudo
  fi
  say "installing from Debian:$missing"

  $as_root apt-get -qq update
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends install $missing
}

if [ -n "$want_system" ]; then
  if is_debian; then
    install_packages
  else
    missing=$(missing_commands)
    if [ -n "$missing" ]; then
      echo "setup: this is not Debian or one of its kin, so nothing is installed here. Please install:$missing" >&2
      exit 1
    fi
  fi
fi

# npm ci takes everything anew, so it runs only when the lock file is another than last time.
stamp=node_modules/.wirt-lock
lock=$(cksum < package-lock.json)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$lock" ]; then
  say "npm ci: the packages of package-lock.json, Node 24 among them"
  npm ci --no-audit --no-fund --loglevel=error
  printf '%s\n' "$lock" > "$stamp"
fi

# The guest agent that tests talk to is unpacked, never installed: installed, it would serve this machine's own host.
# Without it the tests of the agent are skipped, and say so.
agent=.wirt/test-cache/qemu-guest-agent
fetch_agent() {
  ( cd "$agent" && apt-get -qq -o APT::Sandbox::User=root download qemu-guest-agent && dpkg-deb -x qemu-guest-agent_*.deb . )
}
if [ -n "$want_test" ] && [ ! -x "$agent/usr/sbin/qemu-ga" ] && is_debian; then
  say "unpacking qemu-guest-agent for the tests"
  mkdir -p "$agent"
  if ! fetch_agent 2>/dev/null; then # the package lists may be empty or old
    [ "$(id -u)" != 0 ] || apt-get -qq update
    fetch_agent || say "qemu-guest-agent could not be had; its tests will be skipped"
  fi
fi
