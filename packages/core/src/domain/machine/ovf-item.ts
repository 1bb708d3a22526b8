/** One item of an OVF's virtual hardware, and what readers of every kind of item do with it. */
import type { DriveBus } from './draft.ts';
import type { XmlElement } from './xml.ts';
import { attribute, childText, type Reading, textOf } from './xml-reading.ts';

export interface OvfItem {
  readonly element: XmlElement;
  readonly id: string;
  readonly type: number;
  readonly subType: string;
  readonly parent: string;
}

export interface Controller {
  readonly bus: DriveBus;
  readonly setting: string;
  /** As the OVF calls it. */
  readonly name: string;
  /** Why drives on it are on another bus than they were. */
  readonly change?: string;
}

/** InstanceID of what belongs to it, for settings that name an item: `vmw:BootOrderSection`. */
export type BootOrders = ReadonlyMap<string, number>;

/** Names of an item and its fields that only identify it, or that the caller has used. */
export function used(reading: Reading, { element }: OvfItem, ...fields: string[]): void {
  const naming = ['InstanceID', 'InstanceId', 'ResourceType', 'ElementName', 'Caption', 'Description'];
  for (const each of element.children) {
    if ([...naming, ...fields].includes(each.local)) {
      reading.seen.add(each);
      textOf(reading, each);
    }
  }
}

/** The place in the boot order: of our own export, of oVirt's, or of VMware's section. */
export function bootPlace(reading: Reading, item: OvfItem, boot: BootOrders): number | undefined {
  const own = attribute(reading, item.element, 'bootOrder') ?? childText(reading, item.element, 'BootOrder');
  const number = own === undefined ? boot.get(item.id) : Number(own);
  return number !== undefined && Number.isSafeInteger(number) && number > 0 ? number : undefined;
}
