// The shell scripts that mmdebstrap calls with the new root as first argument. They hold no word of a user's: folders
// come in as variables of the environment.
import { disabledUnits, dpkgConfig, enabledUnits, excludedFolders } from './files.ts';
import { biosModules } from './grub.ts';

/** What the hooks read from the environment. */
export interface HookEnvironment {
  /** Downloads kept between builds. */
  readonly WIRT_CACHE: string;
  /** Files to lay over the root, as a folder. */
  readonly WIRT_OVERLAY: string;
  /** Where the BIOS image, and what else the disk needs, is put. */
  readonly WIRT_BOOT: string;
}

/** Packages are hard links into the cache where the file system allows it; apt looks at their size and check sum. */
export const setupHook = `#!/bin/sh
set -e
archives=$1/var/cache/apt/archives
mkdir -p "$archives"
find "$WIRT_CACHE" -maxdepth 1 -name '*.deb' -exec cp -l -t "$archives" {} + 2>/dev/null ||
  find "$WIRT_CACHE" -maxdepth 1 -name '*.deb' -exec cp -t "$archives" {} +
cp -R /etc/apt/auth.conf /etc/apt/auth.conf.d "$1/etc/apt/" 2>/dev/null || true
`;

/** Not earlier: mmdebstrap would filter the essential packages itself, five times as slowly as dpkg. */
export const essentialHook = `#!/bin/sh
set -e
cat >"$1/etc/dpkg/dpkg.cfg.d/wirt" <<'END'
${dpkgConfig}END
`;

export const customizeHook = `#!/bin/sh
set -e
root=$1
find "$root/var/cache/apt/archives" -maxdepth 1 -name '*.deb' -exec cp -n -t "$WIRT_CACHE" {} +

# Nothing of the build host: its package sources (they may hold passwords), its name. The guest's own are Debian's, at
# the address that the package cloud-init knows.
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/auth.conf "$root"/etc/apt/auth.conf.d/*
rm -f "$root"/etc/apt/apt.conf.d/99mmdebstrap "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap
archive() { sed -n "s/^ *$1: *//p" "$root/etc/cloud/cloud.cfg" | head -n 1; }
cat >"$root/etc/apt/sources.list" <<END
deb $(archive primary) bookworm main
deb $(archive primary) bookworm-updates main
deb $(archive security) bookworm-security main
END

# Made anew by cloud-init for every guest.
rm -f "$root"/etc/ssh/ssh_host_*
${excludedFolders.map((folder) => `rm -rf "$root"/usr/share/${folder}/*`).join('\n')}
find "$root/usr/share/doc" -type f ! -name copyright -delete
find "$root/usr/share/locale" -mindepth 1 -maxdepth 1 -type d -exec rm -rf {} +

cp -R --no-preserve=ownership "$WIRT_OVERLAY/." "$root/"
mkdir -p "$root/boot/efi" "$root/boot/grub"
chroot "$root" systemctl --quiet enable ${enabledUnits.join(' ')}
chroot "$root" systemctl --quiet disable ${disabledUnits.join(' ')} || true
echo 'wirt: making the initramfs'
chroot "$root" update-initramfs -c -k all

echo 'wirt: making the boot loader'
cp -R "$root/usr/lib/grub/i386-pc" "$root/boot/grub/"
rm -f "$root"/boot/grub/i386-pc/*.img
cp "$WIRT_BOOT/early.cfg" "$root/tmp/early.cfg"
chroot "$root" grub-mkimage -O i386-pc -o /tmp/core.img -p /boot/grub -c /tmp/early.cfg ${biosModules.join(' ')}
mv "$root/tmp/core.img" "$WIRT_BOOT/core.img"
rm "$root/tmp/early.cfg"
cp "$root/usr/lib/grub/i386-pc/boot.img" "$WIRT_BOOT/boot.img"
cp "$root/usr/lib/shim/shimx64.efi.signed" "$WIRT_BOOT/BOOTX64.EFI"
cp "$root/usr/lib/shim/mmx64.efi.signed" "$WIRT_BOOT/mmx64.efi"
cp "$root/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" "$WIRT_BOOT/grubx64.efi"
`;
