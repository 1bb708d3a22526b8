// GRUB's configuration, as text: what the embedded images run first, and the first grub.cfg. The latter serves until the
// guest's own update-grub writes another, which reads the defaults given here.

/** For a quick boot; `tsc=reliable` also keeps a guest on a busy host from giving up its clock. */
const quickArgs = 'quiet tsc=reliable no_timer_check cryptomgr.notests random.trust_cpu=on';
/** The last one is where init and the shell of last resort speak. */
const consoleArgs = 'console=tty0 console=ttyS0,115200';

/** Modules built into the BIOS image, so that nothing but grub.cfg, kernel and initrd is read from the disk. */
export const biosModules = [
  ...['biosdisk', 'part_gpt', 'ext2', 'search', 'search_fs_uuid', 'normal', 'configfile', 'linux', 'gzio'],
  ...['echo', 'test', 'terminal', 'serial', 'loadenv', 'minicmd', 'sleep', 'gettext'],
] as const;

/** Found by the file system's UUID and not by the disk's name, which depends on how the guest's disks are attached. */
export function earlyConfig(rootUuid: string): string {
  return `search.fs_uuid ${rootUuid} root
set prefix=($root)/boot/grub
configfile $prefix/grub.cfg
`;
}

export function grubConfig(options: { readonly rootUuid: string; readonly release: string }): string {
  const { rootUuid, release } = options;
  return `# The first configuration, until update-grub writes its own.
set default=0
set timeout=0
serial --speed=115200
terminal_input console serial
terminal_output console serial
menuentry 'Debian GNU/Linux' {
  search --no-floppy --fs-uuid --set=root ${rootUuid}
  linux /boot/vmlinuz-${release} root=UUID=${rootUuid} ro ${consoleArgs} ${quickArgs}
  initrd /boot/initrd.img-${release}
}
`;
}

/** Read by update-grub after /etc/default/grub, which belongs to a package. */
export const grubDefaults = `# No menu, consoles on screen and serial port, and what makes a guest boot quickly.
GRUB_TIMEOUT=0
GRUB_CMDLINE_LINUX="${consoleArgs}"
GRUB_CMDLINE_LINUX_DEFAULT="${quickArgs}"
GRUB_DISABLE_OS_PROBER=true
`;
