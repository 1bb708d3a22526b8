/** Interfaces of a libvirt domain. Those that are devices of the old host are left out, with the reason. */
import { type DraftNic, macOf, type NicModel, refuseTooMany } from './draft.ts';
import { note, printable } from './notes.ts';
import type { XmlElement } from './xml.ts';
import { attribute, child, children, describe, pass, type Reading, settingOf, tell } from './xml-reading.ts';

const models: Readonly<Record<string, NicModel>> = {
  virtio: 'virtio',
  'virtio-net-pci': 'virtio',
  'virtio-transitional': 'virtio',
  'virtio-non-transitional': 'virtio',
  e1000: 'e1000',
  'e1000-82540em': 'e1000',
  e1000e: 'e1000e',
  igb: 'e1000e',
  vmxnet3: 'vmxnet3',
  rtl8139: 'rtl8139',
};

export function readNics(reading: Reading, devices: XmlElement | undefined, pv: boolean): DraftNic[] {
  const nics = children(reading, devices, 'interface');
  refuseTooMany(nics.length);
  return nics.flatMap((nic) => readNic(reading, nic, pv) ?? []);
}

function readNic(reading: Reading, nic: XmlElement, pv: boolean): DraftNic | undefined {
  const type = attribute(reading, nic, 'type') ?? 'user';
  if (type === 'hostdev' || type === 'vdpa') {
    tell(reading, nic, 'The NIC is a device of the old host.', 'dropped');
    return undefined;
  }
  const place = settingOf(reading, nic);
  const address = child(reading, nic, 'mac');
  const mac = readMac(reading, place, attribute(reading, address, 'address'));
  const source = child(reading, nic, 'source');
  const network = ['network', 'bridge', 'dev', 'path', 'address']
    .map((name) => source?.attributes.find(({ local }) => local === name)?.value)
    .find((value) => value !== undefined);
  if (type !== 'user') {
    const reason = 'Networks of another host are not known here; the NIC is on Wirt’s own.';
    const value = source === undefined ? type : `${type}: ${describe(source)}`;
    reading.notes.push(note(`${place}/source`, value, reason, 'changed'));
    pass(reading, source);
  }
  for (const name of ['address', 'type', 'check']) attribute(reading, address, name);
  const model = readModel(reading, nic, place, pv);
  const order = Number(attribute(reading, child(reading, nic, 'boot'), 'order') ?? Number.NaN);
  const link = child(reading, nic, 'link');
  if (link?.attributes.every(({ local, value }) => local === 'state' && value === 'up')) pass(reading, link);
  return {
    ...(mac === undefined ? {} : { mac }),
    model,
    ...(network === undefined ? {} : { network: printable(network) }),
    ...(Number.isSafeInteger(order) && order > 0 ? { bootOrder: order } : {}),
  };
}

function readMac(reading: Reading, place: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const mac = macOf(text);
  if (mac === undefined) {
    reading.notes.push(
      note(`${place}/mac`, text, 'It is no MAC address; the NIC gets a new one.', 'changed'),
    );
  }
  return mac;
}

function readModel(reading: Reading, nic: XmlElement, place: string, pv: boolean): NicModel {
  const said = attribute(reading, child(reading, nic, 'model'), 'type');
  const setting = `${place}/model`;
  if (said === undefined) {
    if (pv) return 'virtio';
    const reason =
      'No model is said; libvirt’s own is rtl8139, and virtio is faster where the guest has the driver.';
    reading.notes.push(note(setting, '', reason, 'hint'));
    return 'rtl8139';
  }
  const model = Object.hasOwn(models, said) ? models[said] : undefined;
  if (model !== undefined && said !== 'igb') return model;
  const other = model ?? (said === 'netfront' && pv ? 'virtio' : 'e1000');
  reading.notes.push(
    note(setting, said, `Wirt has no such NIC; the guest gets a NIC of model ${other}.`, 'changed'),
  );
  return other;
}
