/** What is derived from an instance's id: the UUID that QEMU shows, its MAC addresses, a name where none was given. */

const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** The 128 bits of a ULID (Crockford's base 32, 26 digits, the first below 8). */
export function ulidBytes(ulid: string): Uint8Array {
  let value = 0n;
  for (const digit of ulid) {
    const at = alphabet.indexOf(digit);
    if (at < 0) throw new RangeError(`${JSON.stringify(digit)} is not a digit of a ULID`);
    value = value * 32n + BigInt(at);
  }
  const bytes = new Uint8Array(16);
  for (let at = 15; at >= 0; at -= 1) {
    bytes[at] = Number(value & 0xffn);
    value >>= 8n;
  }
  return bytes;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The same 128 bits, written as a UUID. */
export function uuidOf(id: string): string {
  return hex(ulidBytes(id)).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/**
 * The UUID by which EC2's own tools and cloud-init's datasource Ec2 know a machine: it begins with `ec2`. Of the id's time the
 * first digits give way; all that is random in it stays.
 */
export function ec2Uuid(uuid: string): string {
  return `ec2${uuid.slice(3)}`;
}

/** An id in EC2's form, `i-` and 17 hexadecimal digits: the random part of ours. */
export function ec2Id(prefix: string, id: string): string {
  return `${prefix}-${hex(ulidBytes(id)).slice(-17)}`;
}

/**
 * A locally administered MAC address (IEEE 802: bit 1 of the first octet) from the random part of the id. The card counts in the
 * foremost of its octets: ids of one millisecond follow each other in the last (ULID, "Monotonicity").
 */
export function macOf(id: string, nic: number): string {
  const [first = 0, ...rest] = ulidBytes(id).subarray(11);
  const octets = [0x02, (first + nic) & 0xff, ...rest];
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}

/** `micro-4f7q2k`: the image's name, cut to fit, and digits of the id. */
export function nameFor(image: string, id: string): string {
  return `${image.slice(0, 56).replace(/-+$/, '')}-${id.slice(-6).toLowerCase()}`;
}
