// For tests: a boot sector that uses disks by the BIOS, without any operating system. It says "ready" on the serial port. For
// each `w` typed it writes the next 32 KiB of its own disk and says `+`, or `!` when that failed. After a `b` it writes for
// ever, to its own disk and then to the second one, a number that it raises each time before, and says `.` each time.
// Source: SeaBIOS, INT 13h with AH = 43h (Enhanced Disk Drive Services 1.1).

const sectorBytes = 512;

/** Where on a disk the number is, 32 bits little-endian. */
export const numberOffset = 2048 * sectorBytes;

const code = [
  'fa 31c0 8ed8 8ec0 8ed0 bc007c', // cli; ds, es, ss = 0; sp = 0x7c00
  'bf0080 b90040 b85a5a fc f3ab fb', // fill 0x8000 to 0xffff with 0x5a; sti
  'be807c', //             mov  si, text
  'ac 84c0 7405 e84b00 ebf6', // say: lodsb; test al, al; jz poll; call put; jmp say
  'bafd03 ec a801 74f8', // poll: anything received? else poll
  'baf803 ec 3c77 741a 3c62 75ec', // in al; 'w': jmp one; not 'b': jmp poll
  '66ff060080', //   both: inc  dword [0x8000]
  'b280 e82200 b281 e81d00', // dl = 0x80; call write; dl = 0x81; call write
  'b02e e82100 ebea', //   put '.'; jmp both
  'b280 e81100 b02b 7302 b021', // one: dl = 0x80; call write; al = '+', on error '!'
  'e81100 6683068f7c40 ebc0', // put; add dword [packet.lba], 64; jmp poll
  'be877c b80043 cd13 c3', // write: si = packet; ax = 0x4300; int 0x13; ret
  '88c3 bafd03 ec a820 74f8', // put: wait until the transmitter is empty
  '88d8 baf803 ee c3', //  out al; ret
].join('');

export function bootSector(): Buffer {
  const sector = Buffer.alloc(sectorBytes);
  const text = Buffer.from('ready\n\0');
  // 64 sectors at 0000:8000, from sector 2048 on.
  const packet = Buffer.from('10004000008000000008000000000000', 'hex');
  Buffer.concat([Buffer.from(code.replaceAll(' ', ''), 'hex'), text, packet]).copy(sector);
  sector.writeUInt16LE(0xaa55, sectorBytes - 2);
  return sector;
}
