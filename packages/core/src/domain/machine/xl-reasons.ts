/** What is said of the settings of an xl.cfg that are not carried over. Names: xl.cfg(5), and xm's before it. */
import type { Reason } from './notes.ts';

const dropped = (reason: string): Reason => ({ reason, effect: 'dropped' });
const changed = (reason: string): Reason => ({ reason, effect: 'changed' });
const anew = (words: string, reason: string): Reason => ({ reason, effect: 'changed', together: words });

const display: Reason = {
  reason: 'Wirt gives no display, keyboard, mouse, sound or USB; use the serial console or the network.',
  effect: 'dropped',
  together: 'display, input, sound, USB',
};
const outside = dropped(
  'Guests boot from their disk by their own boot loader, without a kernel from outside.',
);
const features = anew('features of machine and processor', 'Wirt and QEMU set these themselves.');
const placing = dropped('Pinning and scheduling on the old host’s processors mean nothing here.');
const ofHost = dropped('It is a device of the old host.');
const ofXen = dropped('It is a matter of Xen, which Wirt has not.');
const events = dropped('What follows on power-off, reboot and crash is the restart policy of the instance.');
const clock = dropped('The guest’s clock starts in UTC.');
const domain = anew(
  'identity',
  'Wirt gives every guest an identity of its own; software bound to the old one must be told.',
);

const exact: Readonly<Record<string, Reason>> = {
  uuid: domain,
  domid: domain,
  ms_vm_genid: dropped('There is no generation ID.'),
  seclabel: ofXen,
  init_seclabel: ofXen,
  device_model: changed('The device model is Wirt’s own QEMU.'),
  device_model_version: changed('The device model is Wirt’s own QEMU.'),
  device_model_override: changed('The device model is Wirt’s own QEMU.'),
  device_model_stubdomain_override: ofXen,
  device_model_args: dropped('Arguments for QEMU of one’s own are not passed on.'),
  device_model_args_hvm: dropped('Arguments for QEMU of one’s own are not passed on.'),
  device_model_args_pv: dropped('Arguments for QEMU of one’s own are not passed on.'),
  bios_path_override: changed('Firmware is that of Wirt’s host.'),
  firmware_override: changed('Firmware is that of Wirt’s host.'),
  ramdisk: outside,
  cmdline: outside,
  root: outside,
  extra: outside,
  bootloader_args: outside,
  dhcp: outside,
  hostname: outside,
  ip: outside,
  netmask: outside,
  gateway: outside,
  cpus: placing,
  cpus_soft: placing,
  pool: placing,
  cpu_weight: placing,
  cap: dropped('Limits are not kept; set them again in Wirt.'),
  vnuma: dropped('The guest has one NUMA node.'),
  cpuid: changed('The guest sees the processor of the host.'),
  on_poweroff: events,
  on_reboot: events,
  on_watchdog: events,
  on_crash: events,
  on_soft_reset: events,
  localtime: {
    reason: 'The guest’s clock starts in UTC; set the time zone of hardware time in the guest.',
    effect: 'hint',
  },
  rtc_timeoffset: clock,
  tsc_mode: clock,
  timer_mode: clock,
  vpt_align: clock,
  hpet: clock,
  viridian: dropped('Enlightenments for Windows are not given; it runs without, a little slower.'),
  nestedhvm: dropped('Whether guests may host guests is decided for the host as a whole.'),
  altp2m: ofXen,
  xen_platform_pci: anew(
    'features of machine and processor',
    'There is no Xen under the guest; its drivers for Xen do nothing.',
  ),
  pci: ofHost,
  pci_msitranslate: ofHost,
  pci_power_mgmt: ofHost,
  pci_permissive: ofHost,
  gfx_passthru: ofHost,
  rdm: ofHost,
  dtdev: ofHost,
  irqs: ofHost,
  ioports: ofHost,
  iomem: ofHost,
  vtpm: dropped('A TPM and what it keeps stay behind; have recovery keys at hand.'),
  p9: dropped('Folders of the old host are not shared.'),
  parallel: dropped('There are no parallel ports.'),
  serial: dropped('A guest has one serial port, its console.'),
  channel: dropped('Of channels there is only that of the guest agent.'),
  vfb: display,
  vkb: display,
  keymap: display,
  soundhw: display,
  stdvga: display,
  vga: display,
  videoram: display,
  sdl: display,
  opengl: display,
  nographic: display,
  claim_mode: ofXen,
  shadow_memory: ofXen,
  blkif_acceleration: ofXen,
  grant_usage: ofXen,
  max_grant_frames: ofXen,
  max_maptrack_frames: ofXen,
  max_event_channels: ofXen,
  event_channels: ofXen,
  nomigrate: ofXen,
  driver_domain: ofXen,
  passthrough: ofHost,
  apic: features,
  acpi: features,
  acpi_s3: features,
  acpi_s4: features,
  pae: features,
  nx: features,
  hap: features,
  apic_mode: features,
  smbios_firmware: dropped('What firmware tells of maker, model and serial numbers is QEMU’s own.'),
  acpi_firmware: dropped('Tables of one’s own are not given to the guest.'),
  exclusive: ofXen,
};

const prefixes: readonly (readonly [prefix: string, reason: Reason])[] = [
  ['vnc', display],
  ['spice', display],
  ['usb', display],
  ['sched', placing],
  ['vuart', dropped('A guest has one serial port, its console.')],
  ['dm_', changed('The device model is Wirt’s own QEMU.')],
];

/** Settings that are on or off, and off: they say that there is not what Wirt has not. */
const off: Reason = anew('switched off', 'It is switched off, or does not exist, here as well.');

export function reasonOfXl(name: string, value: string): Reason {
  const mayBeOff = !['localtime', 'acpi', 'apic', 'pae', 'rtc_timeoffset'].includes(name);
  if (mayBeOff && (value === '0' || value === 'none' || value === '')) return off;
  if (name === 'localtime' && value === '0') return off;
  if (name === 'rtc_timeoffset' && value === '0') return off;
  if (Object.hasOwn(exact, name)) return exact[name] ?? off;
  return prefixes.find(([prefix]) => name.startsWith(prefix))?.[1] ?? dropped('Wirt has no such setting.');
}
