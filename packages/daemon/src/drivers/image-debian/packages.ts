// What is in the image, by package: the required ones of the distribution, and these with what they depend on.

export const suite = 'bookworm';

/** Recommended packages are not installed, so what is wanted is said. */
export const packages = [
  // The system.
  ...[
    'systemd-sysv',
    'systemd-resolved',
    'libnss-resolve',
    'systemd-timesyncd',
    'libpam-systemd',
    'dbus',
    'udev',
  ],
  // Boot: the kernel for virtual machines; GRUB for BIOS and UEFI, signed for Secure Boot.
  ...['linux-image-cloud-amd64', 'initramfs-tools', 'zstd', 'grub-cloud-amd64'],
  // What makes it a cloud image.
  ...['cloud-init', 'cloud-guest-utils', 'fdisk', 'e2fsprogs', 'qemu-guest-agent', 'openssh-server', 'sudo'],
  // What people and scripts expect to find.
  ...['iproute2', 'iputils-ping', 'netbase', 'procps', 'ca-certificates', 'curl', 'less', 'nano'],
  ...['bash-completion', 'locales'],
] as const;
