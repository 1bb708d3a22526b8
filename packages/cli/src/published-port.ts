/** Ports of the host that lead into a guest, as people write them: `8080:80`, `127.0.0.1:5353:53/udp`, `[::1]:8080:80`. */
import { BadValue, quote } from './units.ts';

export interface Published {
  readonly protocol: 'tcp' | 'udp';
  readonly hostAddress?: string | undefined;
  readonly hostPort: number;
  readonly guestPort: number;
}

/** What is published, by what is known of it: its port of the host at least. */
export interface PublishedPlace extends Omit<Published, 'guestPort'> {
  readonly guestPort?: number;
}

const address = String.raw`(?:(?<v4>\d{1,3}(?:\.\d{1,3}){3})|\[(?<v6>[0-9a-f:.]+)\])`;
const whole = new RegExp(
  String.raw`^(?:${address}:)?(?<host>\d{1,5})(?::(?<guest>\d{1,5}))?(?:\/(?<protocol>tcp|udp))?$`,
  'i',
);

/** `[ADDRESS:]HOST:GUEST[/tcp|udp]`. */
export function parsePublished(text: string): Published {
  const { guestPort, ...place } = placeIn(text, 'takes HOST:GUEST such as 8080:80 or 5353:53/udp');
  if (guestPort !== undefined) return { ...place, guestPort };
  throw new BadValue(`needs both ports, of the host and of the guest: ${text.replace(/\d+/, '$&:$&')}`);
}

/** `[ADDRESS:]HOST[:GUEST][/tcp|udp]`. */
export function parsePublishedPlace(text: string): PublishedPlace {
  return placeIn(text, 'takes the port of the host, such as 8080 or 5353/udp');
}

function placeIn(text: string, takes: string): PublishedPlace {
  const groups = whole.exec(text)?.groups;
  if (groups === undefined) throw new BadValue(`${takes}, and not ${quote(text)}`);
  const { v4, v6, host, guest, protocol } = groups;
  const hostAddress = v4 ?? v6;
  return {
    protocol: protocol?.toLowerCase() === 'udp' ? 'udp' : 'tcp',
    ...(hostAddress === undefined ? {} : { hostAddress }),
    hostPort: portIn(host ?? '', text),
    ...(guest === undefined ? {} : { guestPort: portIn(guest, text) }),
  };
}

function portIn(digits: string, text: string): number {
  const port = Number(digits);
  if (port >= 1 && port <= 65_535) return port;
  throw new BadValue(`has ports from 1 to 65535, and ${quote(text)} has ${port}`);
}

/** Whether it is the one, by all that is known of it. */
export function isAt(each: Published, place: PublishedPlace): boolean {
  return (
    each.protocol === place.protocol &&
    each.hostPort === place.hostPort &&
    (place.hostAddress === undefined || place.hostAddress === each.hostAddress) &&
    (place.guestPort === undefined || place.guestPort === each.guestPort)
  );
}

/** `8080:80/tcp`, which `parsePublished` takes. */
export function publishedText({ protocol, hostAddress, hostPort, guestPort }: Published): string {
  const at =
    hostAddress === undefined ? '' : hostAddress.includes(':') ? `[${hostAddress}]:` : `${hostAddress}:`;
  return `${at}${hostPort}:${guestPort}/${protocol}`;
}
