/** What the kernel says of its interfaces: `ip -j -d link` and `ip -j addr`, read into what the driver compares. */

export interface LinkState {
  readonly name: string;
  /** As the kernel calls it: `bridge`, `tun`, `veth`, `vlan`; empty for a device. */
  readonly kind: string;
  readonly alias?: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly master?: string;
  readonly mac: string;
  readonly tap?: { readonly uid: number; readonly gid: number; readonly multiQueue: boolean };
  readonly vlan?: { readonly link: string; readonly id: number };
  /** Of a bridge: whether its frames pass the netfilter hooks of IPv4 and IPv6. */
  readonly filtered?: boolean;
  /** With prefix length. */
  readonly addresses: readonly string[];
}

interface JsonLink {
  readonly ifname?: string;
  readonly ifalias?: string;
  readonly mtu?: number;
  readonly flags?: readonly string[];
  readonly master?: string;
  readonly address?: string;
  readonly link?: string;
  readonly linkinfo?: { readonly info_kind?: string; readonly info_data?: Readonly<Record<string, unknown>> };
  readonly addr_info?: readonly { readonly local?: string; readonly prefixlen?: number }[];
}

export function parseLinks(links: string, addresses: string): Map<string, LinkState> {
  const addressesOf = new Map(
    objects(addresses).map(({ ifname = '', addr_info = [] }) => [
      ifname,
      addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`),
    ]),
  );
  const states = objects(links).map((link) => stateOf(link, addressesOf.get(link.ifname ?? '') ?? []));
  return new Map(states.map((state) => [state.name, state]));
}

/** `ip -j` writes nothing at all, or empty objects among the others, where there is nothing to say. */
export function objects(json: string): JsonLink[] {
  const parsed: unknown = json.trim() === '' ? [] : JSON.parse(json);
  return (Array.isArray(parsed) ? parsed : []).filter((each: JsonLink | null) => each?.ifname !== undefined);
}

function stateOf(link: JsonLink, addresses: readonly string[]): LinkState {
  const { ifname = '', ifalias, mtu = 0, flags = [], master, address = '', linkinfo } = link;
  const data = linkinfo?.info_data ?? {};
  const kind = linkinfo?.info_kind ?? '';
  const number = (name: string): number => (typeof data[name] === 'number' ? data[name] : -1);
  return {
    name: ifname,
    kind,
    mtu,
    up: flags.includes('UP'),
    mac: address,
    addresses,
    ...(ifalias === undefined ? {} : { alias: ifalias }),
    ...(master === undefined ? {} : { master }),
    ...(kind === 'tun' && data['type'] === 'tap'
      ? { tap: { uid: number('user'), gid: number('group'), multiQueue: data['multi_queue'] === true } }
      : {}),
    ...(kind === 'vlan' ? { vlan: { link: link.link ?? '', id: number('id') } } : {}),
    ...(kind === 'bridge'
      ? { filtered: data['nf_call_iptables'] === 1 && data['nf_call_ip6tables'] === 1 }
      : {}),
  };
}
