// Files put into the image, as text. Everything that a package brings stays as the package brings it; these are
// drop-ins beside it, so that upgrades in the guest ask no questions.
import { grubDefaults } from './grub.ts';

export interface ImageFile {
  readonly path: string;
  readonly data: string;
  readonly mode?: number;
}

/** Read by dpkg from the first optional package on, and in the guest. */
export const dpkgConfig = `# Documentation is left out of this image. To get it: remove this file and reinstall the package.
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/locale/*
path-include=/usr/share/locale/locale.alias
path-exclude=/usr/share/lintian/*
`;

/** What of the documentation the essential packages brought before dpkg could be told. */
export const excludedFolders = ['man', 'info', 'lintian'] as const;

/**
 * The modules of the guest's first root: for the disks that QEMU and other hypervisors give, and no others. Chosen by the
 * build host's devices (MODULES=dep) it would not boot; with all (MODULES=most) it is three times as large. A hook brings
 * them in, since those named in initramfs-tools' own list are all loaded at every boot, needed or not.
 */
const initramfsModules = [
  ...['virtio_pci', 'virtio_mmio', 'virtio_blk', 'virtio_scsi', 'ext4', 'sd_mod', 'sr_mod', 'nvme', 'ahci'],
  ...['ata_piix', 'ata_generic', 'mptspi', 'mptsas', 'vmw_pvscsi', 'xen_blkfront', 'hv_storvsc'],
];

const initramfsHook = `#!/bin/sh
[ "$1" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules ${initramfsModules.join(' ')}
`;

const cloudConfig = `# How cloud-init works in this image. What user-data says has the last word.
datasource_list: [NoCloud, ConfigDrive, Ec2, None]
datasource:
  Ec2:
    # Only on a machine that says it is one: elsewhere nobody answers, and waiting takes minutes.
    strict_id: true
system_info:
  network:
    renderers: [networkd]
locale: C.UTF-8
# An RSA key takes a slow machine many seconds to make, and every client of today knows these.
ssh_genkeytypes: [ed25519, ecdsa]
# Debian's lists without what has no use here: other distributions' tools, and bootstraps of other clouds.
cloud_init_modules:
  - seed_random
  - bootcmd
  - write-files
  - growpart
  - resizefs
  - disk_setup
  - mounts
  - set_hostname
  - update_hostname
  - update_etc_hosts
  - ca-certs
  - rsyslog
  - users-groups
  - ssh
cloud_config_modules:
  - ssh-import-id
  - keyboard
  - locale
  - set-passwords
  - apt-pipelining
  - apt-configure
  - ntp
  - timezone
  - runcmd
cloud_final_modules:
  - package-update-upgrade-install
  - write-files-deferred
  - puppet
  - chef
  - salt-minion
  - scripts-vendor
  - scripts-per-once
  - scripts-per-boot
  - scripts-per-instance
  - scripts-user
  - install-hotplug
  - phone-home
  - final-message
  - power-state-change
`;

/** cloud-init's own configuration comes first by name; this serves interfaces that it does not know of. */
const fallbackNetwork = `[Match]
Type=ether
Kind=!*

[Link]
RequiredForOnline=no

[Network]
DHCP=yes
`;

export function imageFiles(ids: {
  readonly rootUuid: string;
  readonly espSerial: string;
}): readonly ImageFile[] {
  const espUuid = `${ids.espSerial.slice(0, 4)}-${ids.espSerial.slice(4)}`;
  return [
    {
      path: 'etc/fstab',
      data: `UUID=${ids.rootUuid} / ext4 rw,errors=remount-ro 0 1
# Only upgrades of the boot loader need it.
UUID=${espUuid} /boot/efi vfat umask=0077,noauto,x-systemd.automount,x-systemd.idle-timeout=60 0 0
`,
    },
    { path: 'etc/hostname', data: 'debian\n' },
    { path: 'etc/hosts', data: '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' },
    { path: 'etc/default/locale', data: 'LANG=C.UTF-8\n' },
    { path: 'etc/default/grub.d/50-wirt.cfg', data: grubDefaults },
    // Asked for by grub-cloud-amd64 before it writes the boot loader anew after an upgrade.
    { path: 'etc/grub.d/enable_cloud', data: '' },
    { path: 'etc/dpkg/dpkg.cfg.d/wirt', data: dpkgConfig },
    { path: 'etc/initramfs-tools/conf.d/wirt', data: 'MODULES=list\nBUSYBOX=n\n' },
    { path: 'etc/initramfs-tools/hooks/wirt', data: initramfsHook, mode: 0o755 },
    { path: 'etc/cloud/cloud.cfg.d/90_wirt.cfg', data: cloudConfig },
    // Looking for a datasource before systemd starts delays everything; cloud-init itself looks again anyway.
    { path: 'etc/cloud/ds-identify.cfg', data: 'policy: enabled\n' },
    { path: 'etc/systemd/network/90-wirt-fallback.network', data: fallbackNetwork },
    // Sorted after cloud-init's own file: of each setting the first one counts.
    { path: 'etc/ssh/sshd_config.d/90-wirt.conf', data: 'PasswordAuthentication no\n' },
  ];
}

export const enabledUnits = ['systemd-networkd.service'] as const;

/** Upgrades are the owner's business, and none of these does anything for a freshly booted guest but keep it busy. */
export const disabledUnits = [
  ...['apt-daily.timer', 'apt-daily-upgrade.timer', 'dpkg-db-backup.timer', 'e2scrub_all.timer'],
  ...['e2scrub_reap.service', 'grub-common.service', 'grub-initrd-fallback.service'],
  ...['remote-fs.target', 'systemd-pstore.service', 'cloud-init-hotplugd.socket'],
] as const;
