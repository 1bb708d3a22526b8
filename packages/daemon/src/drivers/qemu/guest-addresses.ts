// The addresses by which a guest may be reached, out of what its agent says. Pure. It is the guest's word: what is no
// address is left out, and so is what lies beyond a number that no honest guest needs.
import { BlockList, isIP } from 'node:net';
import type { AgentInterface } from '@wirt/qemu';

const maxAddresses = 32;

const unreachable = new BlockList();
unreachable.addSubnet('127.0.0.0', 8, 'ipv4');
unreachable.addSubnet('169.254.0.0', 16, 'ipv4');
unreachable.addAddress('0.0.0.0', 'ipv4');
unreachable.addAddress('::1', 'ipv6');
unreachable.addAddress('::', 'ipv6');
unreachable.addSubnet('fe80::', 10, 'ipv6');

export function guestAddresses(interfaces: readonly AgentInterface[]): string[] {
  const addresses = new Set<string>();
  for (const { address, family } of interfaces.flatMap((each) => each.addresses)) {
    // A zone belongs to link-local addresses and is the guest's own text.
    if (isIP(address) !== (family === 'ipv4' ? 4 : 6) || address.includes('%')) continue;
    if (!unreachable.check(address, family)) addresses.add(address);
    if (addresses.size >= maxAddresses) break;
  }
  return [...addresses];
}
