// The smallest thing that boots by itself: a boot sector that says a text on the first serial port, and the disks and media
// that are made of it; and what a guest has said.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { TestDaemon } from './daemon.ts';

const run = promisify(execFile);
const sectorBytes = 512;

/** Of the 8250 UART: line status at 3FDh, whose bit 5 says that it takes the next byte, and data at 3F8h. */
const code = [
  '31c0 8ed8 fc be227c', // xor ax, ax; mov ds, ax; cld; mov si, text
  'ac 84c0 7412', //        next: lodsb; test al, al; jz halt
  '88c3 bafd03', //         mov bl, al; mov dx, 0x3fd
  'ec a820 74fb', //        wait: in al, dx; test al, 0x20; jz wait
  '88d8 baf803 ee ebe9', // mov al, bl; mov dx, 0x3f8; out dx, al; jmp next
  'f4 ebfd', //             halt: hlt; jmp halt
].join('');

export function bootSector(text: string): Buffer {
  const sector = Buffer.alloc(sectorBytes);
  Buffer.concat([Buffer.from(code.replaceAll(' ', ''), 'hex'), Buffer.from(`${text}\n\0`)]).copy(sector);
  sector.writeUInt16LE(0xaa55, sectorBytes - 2);
  return sector;
}

/** A raw disk that boots, with bytes behind the sector that no compression makes small. */
export async function writeBootDisk(path: string, text: string, sizeBytes = 2 * 1024 * 1024): Promise<void> {
  const noise = crypto.getRandomValues(new Uint8Array(65_536));
  const disk = Buffer.alloc(sizeBytes, noise);
  bootSector(text).copy(disk);
  await writeFile(path, disk);
}

/** An ISO 9660 medium that boots by El Torito, with one file `hello`. */
export async function writeBootIso(path: string, text: string): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'wirt-iso-'));
  try {
    await writeFile(join(directory, 'boot.img'), bootSector(text));
    await writeFile(join(directory, 'hello'), `${text}\n`);
    const boot = ['-b', 'boot.img', '-no-emul-boot', '-c', 'boot.cat'];
    await run('genisoimage', ['-quiet', '-R', '-V', 'TEST', ...boot, '-o', path, directory]);
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Resolves when the guest's console has said the text since its start. */
export async function consoleSays(daemon: TestDaemon, instance: string, text: string): Promise<void> {
  const over = new AbortController();
  const signal = AbortSignal.any([over.signal, AbortSignal.timeout(60_000)]);
  let said = '';
  try {
    const query = { follow: 'true' } as const;
    const response = await daemon.client.stream('GET /v1/instances/{instance}/logs', {
      params: { instance },
      query,
      signal,
    });
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      said += decoder.decode(chunk as Uint8Array, { stream: true });
      if (said.includes(text)) return;
    }
  } catch (error) {
    throw new Error(`${instance} never said ${text}, but: ${said.slice(-500)}`, { cause: error });
  } finally {
    over.abort();
  }
  throw new Error(`${instance} never said ${text}, but: ${said.slice(-500)}`);
}
