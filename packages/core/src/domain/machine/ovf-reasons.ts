/** What is said of the parts of an OVF that no reader takes, by where they stand; VMware, VirtualBox and oVirt among them. */
import type { Reason } from './notes.ts';
import { sectionKind } from './ovf-envelope.ts';
import type { XmlAttribute, XmlElement } from './xml.ts';
import { describe, type Explain, peekAttribute } from './xml-reading.ts';

const dropped = (reason: string): Reason => ({ reason, effect: 'dropped' });
const together = (words: string, reason: string, effect: Reason['effect'] = 'dropped'): Reason => ({
  reason,
  effect,
  together: words,
});

/** By the name of the innermost section or element, the first that is known from the inside out. */
const byName: Readonly<Record<string, Reason>> = {
  File: dropped('No drive of the machine has this file; it is left out.'),
  Disk: dropped('No drive of the machine has this disk; it is left out.'),
  NetworkSection: { reason: 'Networks of another host are not known here.', effect: 'changed' },
  OperatingSystemSection: dropped('Which system the guest has is not kept; nothing in Wirt depends on it.'),
  EulaSection: dropped('The license text is not shown; read it in the OVF before you use the machine.'),
  ProductSection: together('ProductSection', 'Facts about the product are not kept.'),
  Property: dropped('Properties are not passed on to the guest; set in the guest what it needs.'),
  AnnotationSection: dropped('A further annotation is not kept.'),
  StartupSection: dropped('The order in which machines start is not kept.'),
  ResourceAllocationSection: dropped('Reservations and limits of a group are not kept.'),
  InstallSection: dropped('The machine is not started to install itself.'),
  EnvironmentFilesSection: dropped('Files of an environment are not passed on to the guest.'),
  Strings: dropped('Translations are not kept.'),
  IpAssignmentSection: dropped('Addresses are not assigned by the host.'),
  ExtraConfig: dropped('An entry of VMware’s .vmx file, which nothing but VMware reads.'),
  Reservation: dropped('Reservations, limits and shares are not kept.'),
  Limit: dropped('Reservations, limits and shares are not kept.'),
  Weight: dropped('Reservations, limits and shares are not kept.'),
  Config: dropped('A setting of VMware that Wirt has not.'),
  System: { reason: 'The machine becomes a q35 of QEMU, whatever it was before.', effect: 'changed' },
};

const offValues = ['false', '0', 'no', 'none', 'unlocked', 'automatic', ''];

function configReason(element: XmlElement): Reason | undefined {
  const key = peekAttribute(element, 'key') ?? '';
  const value = (peekAttribute(element, 'value') ?? '').toLowerCase();
  if (offValues.includes(value)) {
    return together(
      'vmw:Config, switched off',
      'It is switched off, or does not exist, here as well.',
      'changed',
    );
  }
  if (key.startsWith('slotInfo.')) {
    return together('vmw:Config, places', 'Places on the PCI bus are given anew by Wirt.', 'changed');
  }
  if (/^(tools|powerOpInfo)\./.test(key)) {
    return together(
      'vmw:Config of VMware Tools',
      'VMware’s tools do nothing here; qemu-guest-agent takes their place.',
    );
  }
  if (/^cpuAllocation|^memoryAllocation/.test(key)) return byName.Reservation;
  if (key === 'nestedHVEnabled')
    return dropped('Whether guests may host guests is decided for the host as a whole.');
  if (/secureboot/i.test(key)) {
    return dropped(
      'Firmware starts without Secure Boot and with variables of its own; a guest that checks it must be told.',
    );
  }
  return undefined;
}

const virtualBox = 'VirtualBox’s own setting; Wirt has no such thing or chooses it itself.';
/** Parts of VirtualBox's settings that are each worth a line when there is something in them. */
const virtualBoxDevices =
  /^(UART|LPT|SharedFolders|HostPci|AudioAdapter|USB|USBController|RemoteDisplay|RTC|Adapter)$/;

function virtualBoxReason(chain: readonly XmlElement[]): Reason {
  const [element] = chain;
  const device = chain.find(({ local }) => virtualBoxDevices.test(local));
  const on = element !== undefined && /enabled=true|hostPath|localOrUTC=local/i.test(describe(element));
  return device !== undefined && on ? dropped(virtualBox) : together('vbox:Machine', virtualBox);
}

const placing: Reason = together(
  'controllers',
  'Controllers and places on them are given anew by Wirt.',
  'changed',
);
const facts: Reason = together(
  'files and disks',
  'Facts about a file that Wirt finds out itself.',
  'changed',
);
const fields: Reason = together('fields of items', 'Wirt has no such setting.');
const machine: Reason = together('VirtualSystem', 'Wirt has no such setting.');
const backup: Reason = dropped('Wirt has no such setting.');

/** Attributes that say how to read the element next to them, and not what the machine has. */
const markup = new Set([
  'required',
  'transport',
  'lang',
  'buildId',
  'schemaLocation',
  'msgid',
  'type',
  'cimnamespace',
]);

/** For `unread`: `path` is not needed, since the sections are known by their kind in whichever version of OVF. */
export function explainOvf(ancestors: (element: XmlElement) => readonly XmlElement[]): Explain {
  return (_path, element: XmlElement, attribute?: XmlAttribute) => {
    if (element.local === 'Info' || element.local === 'Category') return 'nothing';
    if (attribute !== undefined && markup.has(attribute.local)) return 'nothing';
    if (element.local === 'Config') return configReason(element) ?? backup;
    if (attribute === undefined && isEmpty(element)) return 'nothing';
    if (element.local === 'Address' || element.local === 'AddressOnParent') return placing;
    const above = ancestors(element);
    const chain = [element, ...above];
    // An element below one of these, or an attribute of it, is only told when the disk or file itself was taken.
    const below = attribute === undefined ? above : chain;
    if (below.some(({ local }) => local === 'Disk' || local === 'File')) return facts;
    if (chain.some(({ local, uri }) => local === 'Machine' && uri.includes('virtualbox'))) {
      return virtualBoxReason(chain);
    }
    for (const each of chain) {
      const known = byName[sectionKind(each)];
      if (known !== undefined) return known;
    }
    const parent = chain[1] === undefined ? '' : sectionKind(chain[1]);
    if (parent.endsWith('Item')) return fields;
    return parent === 'VirtualSystem' && !element.local.endsWith('Section') ? machine : backup;
  };
}

function isEmpty({ attributes, children, text }: XmlElement): boolean {
  return attributes.length === 0 && children.length === 0 && text.trim() === '';
}
