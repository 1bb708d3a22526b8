/** Port: processors and memory nodes of the host as they are now. Source: the kernel's /sys/devices/system/{cpu,node}. */
import type { HostTopology } from '../domain/placement/topology.ts';

export interface HostTopologyReader {
  /** Read anew each time; the same `cpus` as before where none came or went. */
  read(signal: AbortSignal): Promise<HostTopology>;
}
