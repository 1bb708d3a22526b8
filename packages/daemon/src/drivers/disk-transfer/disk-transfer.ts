/**
 * DiskTransfer on files: foreign disks and machines in, ours out. What comes in is opened once, looked into by Wirt's own parsers, and
 * then read by qemu-img in the same confinement as guests, through the very descriptor that was looked into.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskTransfer, Logger } from '@wirt/core';
import { fsError } from '../../platform/fs-error.ts';
import type { Loans } from '../../platform/lend.ts';
import { digestOf } from './bytes.ts';
import { requireNoWriter } from './device-use.ts';
import { headOf } from './disk-head.ts';
import { ForeignPaths } from './foreign-path.ts';
import { convertToFile, convertToLayer } from './incoming.ts';
import { createDiskOpener, type DiskFiles } from './opened-disk.ts';
import { openMachine } from './opened-machine.ts';
import { convertOut } from './outgoing.ts';
import { createOutputs } from './outputs.ts';
import { writeOva } from './ova-write.ts';
import { PackageMembers } from './package-members.ts';
import { createQemuConvert, type QemuConvert } from './qemu-convert.ts';
import { createStaging } from './staging.ts';

export interface DiskTransferOptions {
  readonly stateDirectory: string;
  /** Of the whole daemon. */
  readonly loans: Loans;
  readonly logger: Logger;
  /** Name or path of qemu-img. */
  readonly qemuImg?: string;
}

export function createDiskTransfer(options: DiskTransferOptions): DiskTransfer {
  const { stateDirectory, loans, logger, qemuImg } = options;
  const staging = createStaging(join(stateDirectory, 'transfers'));
  const outputs = createOutputs({ recordDirectory: join(stateDirectory, 'exports', 'outputs'), logger });
  const convert = createQemuConvert(qemuImg);
  const foreignPaths = new ForeignPaths();
  const tools = { convert, staging, loans };
  const members = new PackageMembers();
  const disks = createDiskOpener({ staging, foreignPaths, members, stateDirectory });

  return {
    compressionOf: (asked) => disks.compressionOf(asked),
    openDisk: (options) => disks.open(options),
    head: (disk, bytes, work) => headOf(disks.filesOf(disk), bytes, { work, convert }),

    async openMachine(options) {
      const machine = await openMachine(options, { staging, foreignPaths, members });
      logger.info('transfer.machine_opened', {
        path: options.path,
        kind: machine.kind,
        unpacked: options.unpack,
      });
      return machine;
    },

    async toLayer(disk, pool, layer, work) {
      const files = disks.filesOf(disk);
      await convertToLayer(files, pool, layer, { work, convert: unwritten(files, convert), loans });
    },

    async toFile(disk, target, work) {
      const files = disks.filesOf(disk);
      return await convertToFile(files, target, { work, convert: unwritten(files, convert), loans });
    },

    async digest(path, { signal, onProgress }) {
      try {
        await using file = await open(path, 'r');
        const { size } = await file.stat();
        return await digestOf(file, { signal, onProgress: (done) => onProgress(done, size) });
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        throw fsError(error, 'read', path);
      }
    },

    async fromSource(source, { path, format, streamOptimized = false }, work) {
      await using output = await outputs.create(path);
      const target = { path, format, streamOptimized, handle: output.handle, code: 'export.failed' } as const;
      await convertOut(source, target, tools, work);
      return await output.finish();
    },

    async writeOva(path, description, sources, work) {
      await using output = await outputs.create(path);
      const contents = { path, handle: output.handle, description, disks: sources };
      await writeOva(contents, tools, work);
      return await output.finish();
    },

    async writeText(path, text) {
      await using output = await outputs.create(path);
      await output.handle.writeFile(text).catch((error: unknown) => {
        throw fsError(error, 'write', path, 'export.failed');
      });
      await output.finish();
    },

    makeDirectory: (path) => outputs.makeDirectory(path),
    removeOutput: (path) => outputs.remove(path),

    stagePath: (id, name) => staging.stagePath(id, name),
    clean: (id, options) => staging.clean(id, options),
    async list() {
      await outputs.recover();
      return await staging.list();
    },
  };
}

/** Who began to write a device after it was opened has made the copy worthless. */
function unwritten({ file: { path, device } }: DiskFiles, convert: QemuConvert): QemuConvert {
  return async (conversion) => {
    await convert(conversion);
    if (device !== undefined) await requireNoWriter(path, device);
  };
}
