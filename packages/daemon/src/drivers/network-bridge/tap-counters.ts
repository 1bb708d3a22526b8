/** What all ports have passed, from the one file in which the kernel counts for every interface: cheap enough to be read every few seconds. */
import { readFileSync } from 'node:fs';
import type { PlannedPort, PortCounters } from '@wirt/core';
import type { HostNames } from './names.ts';

export const interfaceCounts = '/proc/net/dev';

/** `dropped`: by rates, of an interface. */
export function countersOf(
  ports: readonly PlannedPort[],
  names: HostNames,
  dropped: (name: string) => number,
  text = readFileSync(interfaceCounts, 'latin1'),
): Map<string, PortCounters> {
  const lines = linesByName(text);
  const counters = new Map<string, PortCounters>();
  for (const port of ports) {
    const tap = names.port(port);
    const line = lines.get(tap);
    if (line === undefined) continue;
    // Receive: bytes packets errs drop fifo frame compressed multicast; transmit: bytes packets errs drop ...
    const [rxBytes = 0, rxPackets = 0, , rxDropped = 0, , , , , txBytes = 0, txPackets = 0, , txDropped = 0] =
      line.trim().split(/ +/).map(Number);
    counters.set(`${port.instance}/${port.nic}`, {
      ingressBytes: txBytes,
      egressBytes: rxBytes,
      ingressPackets: txPackets,
      egressPackets: rxPackets,
      ingressDropped: txDropped + dropped(tap),
      egressDropped: rxDropped + dropped(names.shaper(port)),
    });
  }
  return counters;
}

function linesByName(text: string): Map<string, string> {
  const lines = new Map<string, string>();
  for (const line of text.split('\n')) {
    const at = line.indexOf(':');
    if (at > 0) lines.set(line.slice(0, at).trim(), line.slice(at + 1));
  }
  return lines;
}
