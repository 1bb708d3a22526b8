// For tests: an operating system of 120 bytes. It says "ready" on the serial port, echoes what comes there, and powers
// off at the ACPI power button (PM1 registers of q35 at 0x600). Boots in the time that the firmware takes.
// Format: Multiboot 0.6.96, section 3.1.2, with load addresses in the header.

const loadAddress = 0x100000;
const magic = 0x1badb002;
/** Bit 16: the header says where everything goes. */
const flags = 0x10000;
const entry = loadAddress + 0x20;

const code = [
  'fa', //                cli
  '66ba0206 66b80001 66ef', // outw 0x602, 0x0100     enable the power button
  'be71001000', //        mov  esi, text
  'ac 84c0 7414', //  say: lodsb; test al, al; jz poll
  '88c3', //              mov  bl, al
  '66bafd03 ec a820 74f7', // wait until the transmitter is empty (0x3fd, bit 5)
  '88d8 66baf803 ee', //  outb 0x3f8, bl
  'ebe7', //              jmp  say
  'f390', //        poll: pause
  '66ba0006 66ed f6c401 740a', // inw 0x600; test ah, 1; jz serial
  '66ba0406 66b80020 66ef', // outw 0x604, 0x2000     SLP_EN, S5: power off
  '66bafd03 ec a801 74e0', // serial: anything received (0x3fd, bit 0)? else poll
  '66baf803 ec ee', //    inb 0x3f8; outb 0x3f8
  'ebd8', //              jmp  poll
].join('');

export function tinyKernel(): Buffer {
  const header = Buffer.alloc(0x20);
  const words = [magic, flags, 2 ** 32 - magic - flags, loadAddress, loadAddress, 0, 0, entry];
  for (const [index, word] of words.entries()) header.writeUInt32LE(word, index * 4);
  return Buffer.concat([header, Buffer.from(code.replaceAll(' ', ''), 'hex'), Buffer.from('ready\n\0')]);
}
