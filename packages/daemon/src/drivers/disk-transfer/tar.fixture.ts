// For tests: tars byte by byte, as no tool would write them.

export interface TarEntry {
  readonly name: string;
  readonly content?: Buffer | string;
  /** '0' plain file, '1' hard link, '2' symbolic link, '3' and '4' devices, '5' folder, '6' pipe, 'x' pax, 'L' GNU long name, ... */
  readonly type?: string;
  readonly linkTo?: string;
  /** Instead of the content's, in the header alone. */
  readonly saysBytes?: number;
  readonly prefix?: string;
  /** Changes the header before its checksum is made. */
  readonly spoil?: (header: Buffer) => void;
}

const BLOCK = 512;

export function tarOf(entries: readonly TarEntry[], { end = true } = {}): Buffer {
  const blocks = entries.flatMap((entry) => {
    const content = Buffer.from(entry.content ?? '');
    const padding = Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK);
    return [headerOf(entry, content.length), content, padding];
  });
  return Buffer.concat(end ? [...blocks, Buffer.alloc(2 * BLOCK)] : blocks);
}

function headerOf(entry: TarEntry, contentBytes: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(entry.name, 0, 100);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  writeSize(header, entry.saysBytes ?? contentBytes);
  header.write('00000000000\0', 136);
  header.write(entry.type ?? '0', 156);
  header.write(entry.linkTo ?? '', 157, 100);
  header.write('ustar\x0000', 257);
  header.write(entry.prefix ?? '', 345, 155);
  entry.spoil?.(header);
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

/** Sizes from 8 GiB on as GNU tar writes them. */
function writeSize(header: Buffer, bytes: number): void {
  if (bytes < 8 ** 11) {
    header.write(`${bytes.toString(8).padStart(11, '0')}\0`, 124);
    return;
  }
  header.writeUInt8(0x80, 124);
  header.writeBigUInt64BE(BigInt(bytes), 128);
}

/** A pax header's record. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  let length = bytes;
  while (String(length).length + bytes !== length) length = String(length).length + bytes;
  return `${length}${rest}`;
}
