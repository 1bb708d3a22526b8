/**
 * The lines for `ip -batch` that lead from what is to what is wanted, each with the network it is for and, where something was
 * there before, what was wrong with it. A tap that is right is never touched: a guest has it open. How many queues it may have it keeps for life,
 * whatever is planned meanwhile.
 */
import type { LinkState } from './link-state.ts';
import type { DesiredLink } from './links.ts';
import type { HostNames } from './names.ts';

export interface LinkChange {
  /** Arguments of `ip`, or of `program`, as one line of a batch. */
  readonly line: string;
  readonly program?: 'tc';
  readonly network?: string;
  readonly instance?: string;
  /** A sentence's beginning: what is wrong now. */
  readonly wrong: string;
}

export interface LinkChanges {
  readonly links: readonly LinkChange[];
  /** For `tc`, after the links are there: each of a tap's 256 possible queues would get one of its own when it goes up, 7 MiB in all. */
  readonly queueing: readonly LinkChange[];
  /** After all these, and after the settings of bridges. */
  readonly last: readonly LinkChange[];
  /** Names of bridges that are made, or made anew. */
  readonly bridgesMade: readonly string[];
  /** Names of all links that are. */
  readonly made: ReadonlySet<string>;
}

/** `spare`: links that are somebody else's business for now. */
export function linkChanges(
  desired: ReadonlyMap<string, DesiredLink>,
  actual: ReadonlyMap<string, LinkState>,
  names: HostNames,
  spare: ReadonlySet<string> = new Set(),
): LinkChanges {
  const removed = [...actual.values()].flatMap((state) =>
    spare.has(state.name) ? [] : removal(state, desired, names),
  );
  const gone = new Set(
    [...actual.values()]
      .filter((state) => {
        const link = desired.get(state.name);
        return link !== undefined && mustBeMadeAnew(link, state);
      })
      .map(({ name }) => name),
  );
  const links: LinkChange[] = together(removed);
  const queueing: LinkChange[] = [];
  const last: LinkChange[] = [];
  const bridgesMade: string[] = [];
  const made = new Set<string>();
  for (const link of desired.values()) {
    const state = gone.has(link.name) ? undefined : actual.get(link.name);
    const whose = link.instance === undefined ? {} : { instance: link.instance };
    const tell = (line: string, wrong: string): LinkChange => ({
      line,
      wrong,
      network: link.network,
      ...whose,
    });
    // The host's own interfaces are not ours to make; without one, the line that puts it into the bridge fails and says so.
    if (state === undefined)
      for (const line of makingLines(link)) links.push(tell(line, `${link.what} was not there`));
    if (state === undefined) made.add(link.name);
    if (state === undefined && link.making.kind === 'bridge') bridgesMade.push(link.name);
    const wrong = settings(link, state);
    if (link.making.kind === 'tap' && (state?.tap ?? link.making).multiQueue && !state?.up) {
      queueing.push(tell(`qdisc replace dev ${link.name} root noqueue`, ''));
      wrong.pop();
      last.push(tell(`link set dev ${link.name} up`, `${link.what} was down`));
    }
    if (wrong.length > 0)
      links.push(
        tell(
          ['link set dev', link.name, ...wrong.map(({ words }) => words)].join(' '),
          state === undefined
            ? `${link.what} was not there`
            : `${link.what} ${wrong.map(({ why }) => why).join(', ')}`,
        ),
      );
    for (const address of link.addresses)
      if (!state?.addresses.includes(address))
        last.push(
          tell(
            // Nobody else may have the gateway's address; and the check for it would wait for a first port.
            `addr replace ${address} dev ${link.name}${address.includes(':') ? ' nodad' : ''}`,
            `${link.what} lacked the address ${address}`,
          ),
        );
  }
  return { links, queueing, last, bridgesMade, made };
}

/** Above so many, the kernel is told of all at once: to take a link away, it waits some 20 ms for who may still look at it. */
const fewRemovals = 2;
/** Nobody else's, so far as a number can be: `WIRT`. */
const doomedGroup = 0x57495254;

function together(changes: readonly LinkChange[]): LinkChange[] {
  const begin = 'link del dev ';
  const removals = changes.filter(({ line }) => line.startsWith(begin));
  if (removals.length <= fewRemovals) return [...changes];
  const marked = changes.map((change) =>
    change.line.startsWith(begin)
      ? { ...change, line: `link set dev ${change.line.slice(begin.length)} group ${doomedGroup}` }
      : change,
  );
  return [...marked, { line: `link del group ${doomedGroup}`, wrong: '' }];
}

function removal(
  state: LinkState,
  desired: ReadonlyMap<string, DesiredLink>,
  names: HostNames,
): LinkChange[] {
  const { name, master = '' } = state;
  const wanted = desired.get(name);
  if (wanted !== undefined)
    return wanted.making.kind !== 'foreign' && mustBeMadeAnew(wanted, state)
      ? [
          {
            line: `link del dev ${name}`,
            wrong: `${wanted.what} was of another kind`,
            network: wanted.network,
          },
        ]
      : [];
  if (names.isOurs(state))
    return [{ line: `link del dev ${name}`, wrong: `the interface ${name} was left over` }];
  // The kernel releases the ports of a bridge that goes away; one that stays must let go of the uplink it had.
  return names.isOurs({ name: master }) && state.kind !== 'tun' && desired.has(master)
    ? [{ line: `link set dev ${name} nomaster`, wrong: `the interface ${name} was in ${master}` }]
    : [];
}

const kinds = { bridge: 'bridge', tap: 'tun', veth: 'veth', peer: 'veth', ifb: 'ifb', vlan: 'vlan' } as const;

function mustBeMadeAnew({ making }: DesiredLink, { kind, tap, vlan }: LinkState): boolean {
  if (making.kind === 'foreign') return false;
  if (kinds[making.kind] !== kind) return true;
  if (making.kind === 'vlan') return vlan?.id !== making.id || vlan.link !== making.link;
  if (making.kind !== 'tap') return false;
  // Queues are planned anew with the vCPUs of a running guest, whose QEMU has the tap open: the next tap of the port has them.
  return tap?.uid !== making.uid || tap.gid !== making.gid;
}

const bridgeSettings = 'nf_call_iptables 1 nf_call_ip6tables 1';

function makingLines({ name, making }: DesiredLink): string[] {
  switch (making.kind) {
    case 'bridge':
      return [
        `link add name ${name} address ${making.mac} type bridge forward_delay 0 stp_state 0 mcast_snooping 0 ${bridgeSettings}`,
      ];
    case 'tap':
      return [
        `tuntap add dev ${name} mode tap user ${making.uid} group ${making.gid}${making.multiQueue ? ' multi_queue' : ''}`,
      ];
    case 'veth':
      return [`link add name ${name} type veth peer name ${making.peer}`];
    case 'ifb':
      return [`link add name ${name} type ifb`];
    case 'vlan':
      return [`link add link ${making.link} name ${name} type vlan id ${making.id}`];
    case 'peer':
    case 'foreign':
      return [];
  }
}

/** Words of `ip link set`, and what is wrong where the link is there. */
function settings(link: DesiredLink, state: LinkState | undefined): { words: string; why: string }[] {
  const { alias, mtu, master, making } = link;
  const wrong: { words: string; why: string }[] = [];
  if (alias !== undefined && alias !== state?.alias)
    wrong.push({ words: `alias "${alias}"`, why: 'had lost its alias' });
  if (mtu !== undefined && mtu !== state?.mtu) wrong.push({ words: `mtu ${mtu}`, why: 'had another MTU' });
  // The host speaks on its bridges by addresses that we give, and not at all on their ports.
  if (state === undefined && making.kind !== 'foreign') wrong.push({ words: 'addrgenmode none', why: '' });
  if (making.kind === 'bridge' && state !== undefined && making.mac !== state.mac)
    wrong.push({ words: `address ${making.mac}`, why: 'had another MAC address' });
  if (master !== undefined && master !== state?.master)
    wrong.push({ words: `master ${master}`, why: `was not in ${master}` });
  const isFiltered = making.kind !== 'bridge' || state === undefined || state.filtered === true;
  if (!state?.up) wrong.push({ words: 'up', why: 'was down' });
  if (!isFiltered)
    wrong.push({ words: `type bridge ${bridgeSettings}`, why: 'passed frames by its firewall' });
  return wrong;
}
