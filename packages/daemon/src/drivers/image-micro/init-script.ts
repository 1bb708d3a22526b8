// The texts of the guest's own files: busybox init's table, the boot and shutdown scripts, DHCP and power button
// handlers. Every process counts: a fork costs some 5 ms under software emulation.
import type { ArchiveEntry } from './archive.ts';

/** Source: busybox init's own inittab(5) dialect. `cttyhack` gives the shell the console as controlling terminal. */
const inittab = `::sysinit:/etc/init.d/rcS
::respawn:/bin/busybox cttyhack /bin/sh -l
::respawn:/etc/init.d/agent
::respawn:/etc/init.d/network
::respawn:/sbin/acpid -f -l /dev/null
::restart:/sbin/init
::shutdown:/etc/init.d/rcK
`;

/** The kernel (6.0 and later) sets `hostname=` itself; older ones hand it to init as a variable. */
const rcS = `#!/bin/sh
# Boot, in order; nothing here waits for a device.
busybox mount -t proc -o nosuid,nodev,noexec proc /proc
busybox mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
busybox mount -t devtmpfs -o nosuid,mode=0755 devtmpfs /dev
busybox --install -s
mkdir -m 0755 /dev/pts /dev/shm
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
read -r modules </etc/modules
[ -z "$modules" ] || modprobe -a $modules
read -r name </proc/sys/kernel/hostname
[ "$name" != "(none)" ] || echo "\${hostname:-micro}" >/proc/sys/kernel/hostname
ip link set lo up
`;

/** Runs when init was told to power off, halt or reboot. busybox init's own way takes two seconds of fixed waits. */
const rcK = `#!/bin/sh
read -r ending </run/ending 2>/dev/null || exit 0
kill -TERM -1
kill -HUP -1
others() {
  for process in /proc/[0-9]*; do
    case \${process#/proc/} in 1 | $$) continue ;; esac
    # A kernel thread or a zombie has no program.
    [ ! -e "$process/exe" ] || return 0
  done
  return 1
}
tries=0
while others && [ $tries -lt 60 ]; do
  usleep 50000
  tries=$((tries + 1))
done
kill -KILL -1
sync
umount -a -r 2>/dev/null
exec busybox "$ending" -f
`;

/** poweroff, reboot and halt: notes for rcK which one it is, then lets init do it. */
const ending = `#!/bin/sh
echo "\${0##*/}" >/run/ending
exec busybox "\${0##*/}" "$@"
`;

/** The form in which the guest agent and people call it: -P, -H, -r, with a time and a message that do not matter. */
const shutdown = `#!/bin/sh
ending=poweroff
for word in "$@"; do
  case $word in
    -r) ending=reboot ;;
    -H) ending=halt ;;
  esac
done
exec /sbin/$ending
`;

/** Ports get their names from the host a moment after the driver is loaded, or later when they are plugged in. */
const agent = `#!/bin/sh
channel=/dev/virtio-ports/org.qemu.guest_agent.0
find_channel() {
  for port in /sys/class/virtio-ports/*; do
    read -r name <"$port/name" && [ -n "$name" ] && ln -sfn "../\${port##*/}" "/dev/virtio-ports/$name"
  done 2>/dev/null
  [ -e $channel ]
}
mkdir -p /dev/virtio-ports
tries=0
until find_channel; do
  [ $tries -lt 50 ] || exec sleep 5
  usleep 20000
  tries=$((tries + 1))
done
exec qemu-ga -m virtio-serial -p $channel -t /run -f /run/qemu-ga.pid >/dev/null 2>&1
`;

const network = `#!/bin/sh
[ -e /sys/class/net/eth0 ] || exec sleep 5
ip link set eth0 up
exec udhcpc -f -i eth0 -t 5 -T 1 -A 5 -s /etc/udhcpc.script >/dev/null 2>&1
`;

/** Source: busybox's udhcpc, which sets the variables and the first argument. */
const udhcpc = `#!/bin/sh
case $1 in
  deconfig)
    ip -4 addr flush dev "$interface"
    ;;
  bound | renew)
    ifconfig "$interface" "$ip" netmask "\${subnet:-255.255.255.0}"
    while ip route del default dev "$interface" 2>/dev/null; do :; done
    for gateway in $router; do
      ip route add default via "$gateway" dev "$interface"
      break
    done
    {
      [ -z "$domain" ] || echo "search $domain"
      for server in $dns; do echo "nameserver $server"; done
    } >/etc/resolv.conf
    # A name on the kernel's command line was meant for this guest, and comes before the network's.
    case " $(cat /proc/cmdline)" in
      *" hostname="*) ;;
      *) [ -z "$hostname" ] || echo "$hostname" >/proc/sys/kernel/hostname ;;
    esac
    ;;
esac
`;

const powerButton = `#!/bin/sh
exec /sbin/poweroff
`;

/** busybox's shell takes its own poweroff before the one in the path, unless told. */
const profile = `export PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root TERM="\${TERM:-linux}"
export PS1='\\h:\\w# '
alias poweroff=/sbin/poweroff reboot=/sbin/reboot halt=/sbin/halt
cd
`;

const osRelease = `NAME="Wirt micro"
ID=wirt-micro
ID_LIKE=debian
PRETTY_NAME="Wirt micro"
`;

/** Everything but programs, libraries and modules. `modules` are names for modprobe. */
export function systemFiles(modules: readonly string[]): readonly ArchiveEntry[] {
  const script = (path: string, data: string): ArchiveEntry => ({ kind: 'file', path, data, mode: 0o755 });
  const text = (path: string, data: string): ArchiveEntry => ({ kind: 'file', path, data });
  return [
    { kind: 'directory', path: 'dev' },
    // Init speaks before devtmpfs is mounted.
    { kind: 'device', path: 'dev/console', major: 5, minor: 1 },
    { kind: 'device', path: 'dev/null', major: 1, minor: 3, mode: 0o666 },
    ...(['proc', 'sys', 'run', 'mnt'] as const).map((path): ArchiveEntry => ({ kind: 'directory', path })),
    { kind: 'directory', path: 'root', mode: 0o700 },
    { kind: 'directory', path: 'tmp', mode: 0o1777 },
    { kind: 'symlink', path: 'init', target: 'bin/busybox' },
    { kind: 'symlink', path: 'var/run', target: '../run' },
    script('etc/init.d/rcS', rcS),
    script('etc/init.d/rcK', rcK),
    script('etc/init.d/agent', agent),
    script('etc/init.d/network', network),
    script('etc/udhcpc.script', udhcpc),
    script('etc/acpi/PWRF/00000080', powerButton),
    script('sbin/poweroff', ending),
    script('sbin/reboot', ending),
    script('sbin/halt', ending),
    script('sbin/shutdown', shutdown),
    text('etc/inittab', inittab),
    text('etc/profile', profile),
    text('etc/modules', `${modules.join(' ')}\n`),
    text('etc/os-release', osRelease),
    text('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n'),
    text('etc/group', 'root:x:0:\ntty:x:5:\n'),
    text('etc/hosts', '127.0.0.1 localhost\n::1 localhost\n'),
  ];
}

/** Memory that is plugged in is used at once, and only for what can be moved away again. */
const memoryArgs = 'memhp_default_state=online_movable';

/** Chosen for a quick boot; `tsc=reliable` also keeps a guest on a busy host from giving up its clock. */
export const kernelArgs = {
  // Without the self-tests of the kernel's ciphers a boot under software emulation is 0.3 s shorter.
  amd64: `console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check cryptomgr.notests random.trust_cpu=on ${memoryArgs}`,
  arm64: `console=ttyAMA0 quiet panic=-1 cryptomgr.notests random.trust_cpu=on ${memoryArgs}`,
} as const;
