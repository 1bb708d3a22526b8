/**
 * QEMU's own protocols: QMP, the guest agent, qemu-img. Depends on nothing but Node.
 */

export {
  type AgentInfo,
  type AgentInterface,
  type AgentMemoryBlock,
  type AgentOsInfo,
  type AgentVcpu,
  agentFreeze,
  agentHostName,
  agentInfo,
  agentInterfaces,
  agentMemoryBlocks,
  agentOsInfo,
  agentPing,
  agentSetMemoryBlocks,
  agentSetVcpus,
  agentShutdown,
  agentThaw,
  agentVcpus,
} from './agent/commands.ts';
export {
  AGENT_DEFAULT_TIMEOUT_MS,
  type AgentCallOptions,
  type AgentConnection,
  type AgentConnectOptions,
  type AgentExecuteOptions,
  connectAgent,
} from './agent/connection.ts';
export {
  AgentBusy,
  AgentClosed,
  AgentError,
  AgentFailure,
  AgentProtocolError,
  AgentTimeout,
  AgentTooLarge,
  AgentUnreachable,
} from './agent/errors.ts';
export { type AgentExecOptions, type AgentExecResult, agentExec } from './agent/exec.ts';
export {
  type AgentFileOptions,
  type AgentWriteOptions,
  agentReadFile,
  agentWriteFile,
} from './agent/file.ts';
export { type EmptyQcow2, type EmptyQcow2Options, emptyQcow2, type Qcow2Chunk } from './disk/empty-qcow2.ts';
export {
  type DiskFacts,
  type InspectDiskOptions,
  inspectDisk,
  inspectDiskExtent,
} from './disk/inspect.ts';
export { LAYER_HEADER_BYTES, type LayerHeader, readLayerHeader } from './disk/layer-header.ts';
export type { DiskReader, OpenDiskOptions } from './disk/open-disk.ts';
export { DiskRefused, type DiskRefusedReason } from './disk/refused.ts';
export { type DiskFormat, sniffDisk } from './disk/sniff.ts';
export type { VmdkExtent } from './disk/vmdk-descriptor.ts';
export {
  QemuImgError,
  QemuImgFailure,
  QemuImgOutputError,
  QemuImgTimeout,
  QemuImgUnavailable,
} from './img/errors.ts';
export {
  type CheckOptions,
  type ConvertOptions,
  type CreateOptions,
  type ImageFormat,
  type ImageFormatOptions,
  type InfoOptions,
  type QemuImgCheck,
  type QemuImgInfo,
  type QemuImgOptions,
  type QemuImgSource,
  type QemuImgTarget,
  qemuImgCheck,
  qemuImgConvert,
  qemuImgCreate,
  qemuImgInfo,
  qemuImgResize,
  type ResizeOptions,
} from './img/qemu-img.ts';
export type { QemuImgRunner } from './img/run.ts';
export type {
  KnownQmpEvent,
  QmpArguments,
  QmpCommandName,
  QmpEvent,
  QmpEventName,
  QmpReturn,
  UnknownQmpEvent,
} from './qmp/commands.ts';
export {
  connectQmp,
  QMP_DEFAULT_TIMEOUT_MS,
  type QmpConnection,
  type QmpConnectOptions,
  type QmpExecuteOptions,
} from './qmp/connection.ts';
export {
  QmpBusy,
  QmpClosed,
  QmpError,
  QmpFailure,
  QmpProtocolError,
  QmpTimeout,
  QmpUnreachable,
} from './qmp/errors.ts';
export { indexSchema, type SchemaEntity, type SchemaLookup } from './qmp/introspect.ts';
export { createLineSplitter, type LineSplitter, LineTooLong } from './qmp/lines.ts';
export type { QmpGreeting, QmpTimestamp } from './qmp/message.ts';
