/** What is said of the parts of a libvirt domain that no reader takes. Names of parts: libvirt's docs/formatdomain. */
import type { Reason } from './notes.ts';
import type { ReasonRow } from './xml-reading.ts';

const dropped = (reason: string): Reason => ({ reason, effect: 'dropped' });
const changed = (reason: string): Reason => ({ reason, effect: 'changed' });
const hint = (reason: string): Reason => ({ reason, effect: 'hint' });
const anew = (words: string, reason: string): Reason => ({ reason, effect: 'changed', together: words });

const addresses = anew('devices: addresses, aliases, controllers', 'Wirt makes these anew for every guest.');
const ownConsole = anew(
  'devices: serial console and agent',
  'Every guest has one serial console and a channel for the guest agent.',
);
const lookAndFeel =
  'Wirt gives no display, keyboard, mouse, sound or USB; use the serial console or the network.';
const windows: Reason = {
  reason: 'Enlightenments for Windows are not given; it runs without, a little slower.',
  effect: 'dropped',
  together: 'features/hyperv',
};
const smbios: Reason = {
  reason: 'What firmware tells of maker, model and serial numbers is QEMU’s own.',
  effect: 'dropped',
  together: 'sysinfo, os/smbios',
};
const perDisk = anew(
  'devices/disk/driver',
  'How a disk is opened (cache, I/O, discard, queues, threads) is chosen by Wirt.',
);
const perNic = anew(
  'devices/interface/driver',
  'How a NIC is served (queues, offloads, vhost) is chosen by Wirt.',
);
const pinning = dropped('Pinning and scheduling on the old host’s processors mean nothing here.');
const tuning = dropped('Limits and weights are not kept; set them again in Wirt.');
const ofHost = dropped('It is a device or a folder of the old host.');

export const libvirtReasons: readonly ReasonRow[] = [
  ['@id', anew('domain: run time', 'It is true of one run of the machine only.')],
  ['uuid', changed('Wirt gives every guest a UUID of its own; software bound to the old one must be told.')],
  [
    'hwuuid',
    changed('Wirt gives every guest a UUID of its own; software bound to the old one must be told.'),
  ],
  ['genid', dropped('There is no generation ID.')],
  ['title', dropped('A guest has a name and a description here, and no title beside them.')],
  ['metadata', dropped('Notes of other tools are not kept.')],
  ['maxMemory', dropped('Memory is not plugged in while a guest runs.')],
  [
    'memoryBacking',
    dropped('How memory is backed (huge pages, sharing, locking) is not kept; Wirt always shares it.'),
  ],
  ['memtune', tuning],
  ['blkiotune', tuning],
  ['cputune', pinning],
  ['numatune', pinning],
  ['iothreads', perDisk],
  ['iothreadids', perDisk],
  ['defaultiothread', perDisk],
  ['vcpu/@cpuset', pinning],
  ['vcpus', dropped('Virtual CPUs are all there from the start.')],
  ['resource', anew('domain: run time', 'It is true of one run of the machine only.')],
  ['seclabel', anew('domain: run time', 'Every guest has an own user, control group and sandbox here.')],
  ['sysinfo', smbios],
  ['os/smbios', smbios],
  ['os/bootmenu', dropped('There is no boot menu.')],
  ['os/bios', dropped('What firmware prints, and how long it waits, is not kept.')],
  ['os/acpi', dropped('Tables of one’s own are not given to the guest.')],
  ['os/kernel', hint('Guests boot from their disk by their own boot loader: one has to be installed there.')],
  ['os/initrd', dropped('It goes with a kernel from outside.')],
  [
    'os/cmdline',
    dropped('It goes with a kernel from outside; put what is needed into the guest’s boot loader.'),
  ],
  ['os/dtb', dropped('It goes with a kernel from outside.')],
  ['os/shim', dropped('It goes with a kernel from outside.')],
  ['features', dropped('Wirt sets the features of machine and processor itself.')],
  ['features/acpi', anew('features', 'Every guest has it.')],
  ['features/apic', anew('features', 'Every guest has it.')],
  ['features/pae', anew('features', 'Every guest has it.')],
  ['features/smm', anew('features', 'Wirt switches it on where firmware needs it.')],
  ['features/vmport', anew('features', 'It is switched off.')],
  ['features/hyperv', windows],
  ['cpu', anew('cpu', 'The guest sees the processor of the host (all that QEMU has, without KVM).')],
  ['cpu/topology', changed('All virtual CPUs are cores of one socket.')],
  ['cpu/numa', dropped('The guest has one NUMA node.')],
  ['clock/timer', anew('clock/timer', 'The guest has the timers that QEMU gives it.')],
  ['clock', dropped('The guest’s clock starts in UTC, with the timers that QEMU gives.')],
  [
    'clock/@offset',
    hint('The guest’s clock starts in UTC; set the time zone of hardware time in the guest.'),
  ],
  ['pm', dropped('Sleep states are QEMU’s own.')],
  ['perf', dropped('Performance counters of the host are not read per guest.')],
  ['on_poweroff', dropped('A guest that powers off is stopped.')],
  ['on_reboot', dropped('A guest that reboots, reboots.')],
  ['on_crash', dropped('What happens after a crash is the restart policy of the instance.')],
  ['on_lockfailure', dropped('There are no lock managers.')],
  ['launchSecurity', dropped('Memory encryption is not set up; a guest that demands it will not start.')],
  ['keywrap', dropped('Wirt has no such thing.')],
  [
    'bootloader',
    hint('Guests boot from their disk by their own boot loader: one has to be installed there.'),
  ],
  ['bootloader_args', dropped('It goes with a boot loader of the old host.')],
  ['commandline', dropped('Arguments for QEMU of one’s own are not passed on.')],
  [
    'devices/emulator',
    anew('devices: addresses, aliases, controllers', 'Wirt makes these anew for every guest.'),
  ],
  ['devices/controller', addresses],
  ['devices/*/address', addresses],
  ['devices/*/alias', addresses],
  ['devices/*/acpi', addresses],
  ['devices/disk/driver', perDisk],
  ['devices/disk/target', addresses],
  ['devices/disk/@snapshot', perDisk],
  ['devices/disk/@model', addresses],
  ['devices/disk/iotune', tuning],
  [
    'devices/disk/blockio',
    dropped('Sector sizes are QEMU’s own; a disk that had 4096-byte sectors may not boot.'),
  ],
  ['devices/disk/geometry', dropped('The geometry is QEMU’s own.')],
  ['devices/disk/wwn', dropped('Disks have a serial number and no world wide name.')],
  ['devices/disk/vendor', dropped('Disks have a serial number and no vendor.')],
  ['devices/disk/product', dropped('Disks have a serial number and no product.')],
  ['devices/disk/shareable', dropped('A volume belongs to one guest at a time.')],
  ['devices/disk/transient', dropped('What the guest writes stays.')],
  ['devices/disk/mirror', dropped('A job of the old host is not continued.')],
  ['devices/disk/throttlefilters', tuning],
  ['devices/disk/source/@startupPolicy', dropped('A file that is not there is an error here.')],
  [
    'devices/disk/source/seclabel',
    anew('domain: run time', 'Every guest has an own user, control group and sandbox here.'),
  ],
  ['devices/disk/source/reservations', dropped('SCSI reservations are not passed through.')],
  ['devices/interface/driver', perNic],
  ['devices/interface/backend', perNic],
  ['devices/interface/tune', perNic],
  ['devices/interface/target', addresses],
  ['devices/interface/rom', addresses],
  ['devices/interface/bandwidth', tuning],
  [
    'devices/interface/source',
    changed('Networks of another host are not known here; the NIC is on Wirt’s own.'),
  ],
  ['devices/interface/filterref', dropped('Filters are not kept; the NIC is on Wirt’s own network.')],
  ['devices/interface/vlan', dropped('VLANs are not kept; the NIC is on Wirt’s own network.')],
  [
    'devices/interface/virtualport',
    dropped('Ports of virtual switches are not kept; the NIC is on Wirt’s own network.'),
  ],
  ['devices/interface/ip', dropped('Addresses are not given by the description.')],
  ['devices/interface/mtu', dropped('The MTU is that of Wirt’s own network.')],
  ['devices/interface/link', dropped('The link is up.')],
  ['devices/serial', dropped('A guest has one serial port, its console.')],
  ['devices/console', dropped('A guest has one serial port, its console.')],
  ['devices/parallel', dropped('There are no parallel ports.')],
  ['devices/channel', dropped('Of channels there is only that of the guest agent.')],
  ['devices/graphics', dropped(lookAndFeel)],
  ['devices/video', dropped(lookAndFeel)],
  ['devices/audio', dropped(lookAndFeel)],
  ['devices/sound', dropped(lookAndFeel)],
  ['devices/input', { reason: lookAndFeel, effect: 'dropped', together: 'devices/input' }],
  ['devices/hub', dropped(lookAndFeel)],
  ['devices/redirdev', dropped(lookAndFeel)],
  ['devices/redirfilter', dropped(lookAndFeel)],
  ['devices/smartcard', dropped(lookAndFeel)],
  ['devices/memballoon', dropped('There is no balloon; the guest has all of its memory.')],
  ['devices/rng', dropped('There is no random number device; the processor’s own instruction serves.')],
  ['devices/watchdog', dropped('There is no watchdog.')],
  ['devices/panic', dropped('There is no panic device.')],
  ['devices/pstore', dropped('There is no such store for crash logs.')],
  ['devices/crypto', dropped('There is no crypto device.')],
  ['devices/tpm', dropped('A TPM and what it keeps stay behind; have recovery keys at hand.')],
  ['devices/nvram', dropped('Wirt has no such device.')],
  ['devices/memory', dropped('Memory is not plugged in, and there are no NVDIMMs.')],
  ['devices/iommu', dropped('The guest has no IOMMU.')],
  ['devices/vsock', dropped('A vsock is given only where it is asked for: `wirt set NAME vsock=on`.')],
  ['devices/shmem', dropped('Memory is not shared with other guests.')],
  ['devices/hostdev', ofHost],
  ['devices/filesystem', ofHost],
  ['devices/lease', ofHost],
];

export const serialConsole: Reason = ownConsole;
export const otherwise: Reason = dropped('Wirt has no such setting.');
