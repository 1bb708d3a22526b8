import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bootFactsOf, bootHeadBytes, bootNotes } from './boot-facts.ts';

type Partition = readonly [at: number, type: number];

function mbr(partitions: readonly Partition[], code = false): Uint8Array {
  const head = new Uint8Array(bootHeadBytes);
  head.set([0x55, 0xaa], 510);
  if (code) head.set([0xeb, 0x63, 0x90], 0);
  for (const [at, type] of partitions) head[446 + 16 * at + 4] = type;
  return head;
}

const bytesOf = (hex: string): number[] => hex.match(/../g)?.map((pair) => Number.parseInt(pair, 16)) ?? [];
const guids = {
  esp: '28732ac11ff8d211ba4b00a0c93ec93b',
  linux: 'af3dc60f838472478e793d69d8477de4',
  biosBoot: '4861682149646f6e744e656564454649',
} as const;

function gpt(types: readonly (keyof typeof guids)[], code = false): Uint8Array {
  const head = mbr([[0, 0xee]], code);
  const view = new DataView(head.buffer);
  head.set(new TextEncoder().encode('EFI PART'), 512);
  view.setBigUint64(512 + 72, 2n, true);
  view.setUint32(512 + 80, 128, true);
  view.setUint32(512 + 84, 128, true);
  for (const [at, type] of types.entries()) head.set(bytesOf(guids[type]), 1024 + 128 * at);
  return head;
}

describe('what can boot a disk is seen', () => {
  it.each([
    ['in an MBR with a boot loader', mbr([[0, 0x83]], true), { table: 'mbr', bios: true, esp: false }],
    ['in an MBR with an EFI system partition', mbr([[1, 0xef]]), { table: 'mbr', bios: false, esp: true }],
    ['in a GPT for UEFI alone', gpt(['linux', 'esp']), { table: 'gpt', bios: false, esp: true }],
    ['in a GPT for both', gpt(['biosBoot', 'esp'], true), { table: 'gpt', bios: true, esp: true }],
    ['on a bare file system', new Uint8Array(bootHeadBytes), { table: 'none', bios: false, esp: false }],
    ['in nothing', new Uint8Array(0), { table: 'none', bios: false, esp: false }],
  ] as const)('%s', (_, head, facts) => {
    expect(bootFactsOf(head)).toEqual(facts);
  });

  it('whatever the bytes are, without failing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2048 }), (noise) => {
        const head = gpt(['esp']);
        head.set(noise, 512 + 8);
        head.set([0x55, 0xaa], 510);
        expect(bootFactsOf(head).table).toMatch(/^(gpt|mbr|none)$/);
        expect(bootFactsOf(noise).table).toMatch(/^(gpt|mbr|none)$/);
      }),
    );
  });
});

describe('a firmware that will not boot the disk', () => {
  it.each([
    ['bios', gpt(['esp']), '--firmware uefi'],
    ['uefi', mbr([[0, 0x83]], true), '--firmware bios'],
    ['bios', new Uint8Array(bootHeadBytes), 'no firmware boots from it'],
    ['bios', mbr([[0, 0x83]]), 'no boot code'],
  ] as const)('is told: %s', (firmware, head, words) => {
    const notes = bootNotes('vda', bootFactsOf(head), firmware);
    expect(notes).toEqual([
      expect.objectContaining({ effect: 'hint', reason: expect.stringContaining(words) }),
    ]);
  });

  it.each([
    ['bios', gpt(['biosBoot', 'esp'], true)],
    ['uefi', gpt(['biosBoot', 'esp'], true)],
    ['bios', mbr([[0, 0x83]], true)],
    ['uefi', gpt(['esp'])],
  ] as const)('is not told of one that may: %s', (firmware, head) => {
    expect(bootNotes('vda', bootFactsOf(head), firmware)).toEqual([]);
  });
});
