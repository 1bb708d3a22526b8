/** Rules of security groups as people write them: `80`, `tcp 80`, `8000-8080/tcp`, `53/udp`, `icmp`, `any`, and who the other end is. */
import type { SecurityRuleCreate } from '@wirt/api';
import { BadValue, quote } from './units.ts';

export type Traffic = Pick<SecurityRuleCreate, 'protocol' | 'fromPort' | 'toPort'>;
export type OtherEnd = Pick<SecurityRuleCreate, 'cidr' | 'group'>;
type Rule = Traffic & OtherEnd & Pick<SecurityRuleCreate, 'direction'>;

const ports = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp))?$/;
const icmp = /^(icmp|icmpv6):(\d{1,3})(?::(\d{1,3}))?$/;

/**
 * One or several in a row, as `parseTraffic` has them; and `tcp 80 443`, `icmp 8`: what follows a protocol is of it, so that a
 * protocol before a port is never taken for all of its ports.
 */
export function parseTraffics(words: readonly string[]): Traffic[] {
  const found: Traffic[] = [];
  let protocol: string | undefined;
  for (const [at, word] of words.entries()) {
    const next = words[at + 1] ?? '';
    if (isNumber.test(word)) found.push(parseTraffic(protocol === undefined ? word : within(protocol, word)));
    else if (isProtocol(word) && isNumber.test(next)) protocol = word;
    else if (isProtocol(word) && /^\d/.test(next))
      throw new BadValue(`names a protocol twice: ${quote(`${word} ${next}`)}`);
    else {
      protocol = undefined;
      found.push(parseTraffic(word));
    }
  }
  return found;
}

const isNumber = /^\d+(-\d+)?$/;

function isProtocol(word: string): boolean {
  return ['any', 'tcp', 'udp', 'icmp', 'icmpv6'].includes(word);
}

function within(protocol: string, word: string): string {
  if (protocol === 'any')
    throw new BadValue(`has no ports for any protocol: leave ${word} out, or say tcp or udp`);
  return protocol.startsWith('icmp') ? `${protocol}:${word}` : `${word}/${protocol}`;
}

/** A port or range, of TCP unless it says `/udp`; a protocol alone for all of it; `icmp:TYPE[:CODE]`. */
export function parseTraffic(text: string): Traffic {
  switch (text) {
    case 'any':
    case 'tcp':
    case 'udp':
    case 'icmp':
    case 'icmpv6':
      return { protocol: text };
  }
  const [, first, last, protocol] = ports.exec(text) ?? [];
  if (first !== undefined) return portRange(protocol === 'udp' ? 'udp' : 'tcp', first, last ?? first);
  const [, family, type, code] = icmp.exec(text) ?? [];
  if (type === undefined)
    throw new BadValue(
      `takes 80, 8000-8080/tcp, 53/udp, tcp, udp, icmp, icmp:8, icmpv6 or any, and not ${quote(text)}`,
    );
  if (Number(type) > 255 || Number(code ?? 0) > 255)
    throw new BadValue(`has types and codes of ICMP from 0 to 255, and ${quote(text)} has not`);
  return {
    protocol: family === 'icmpv6' ? 'icmpv6' : 'icmp',
    fromPort: Number(type),
    ...(code === undefined ? {} : { toPort: Number(code) }),
  };
}

function portRange(protocol: 'tcp' | 'udp', first: string, last: string): Traffic {
  const [fromPort, toPort] = [Number(first), Number(last)];
  if (toPort > 65_535) throw new BadValue(`has ports up to 65535, and ${toPort} is beyond`);
  if (fromPort > toPort) throw new BadValue(`has the lower port first: ${last}-${first}`);
  return { protocol, fromPort, toPort };
}

/** An address, a subnet in CIDR notation, or the name of a security group, perhaps with `group:` before it. */
export function parseOtherEnd(text: string): OtherEnd {
  if (text.startsWith('group:')) return { group: text.slice(6) };
  if (text.includes('/')) return { cidr: text };
  if (text.includes(':')) return { cidr: `${text}/128` };
  if (text.includes('.')) return { cidr: `${text}/32` };
  return { group: text };
}

/** As `parseTraffic` takes it. */
export function trafficText({ protocol, fromPort, toPort }: Traffic): string {
  if (fromPort === undefined) return protocol;
  if (protocol === 'icmp' || protocol === 'icmpv6')
    return [protocol, fromPort, ...(toPort === undefined ? [] : [toPort])].join(':');
  const range = toPort === undefined || toPort === fromPort ? `${fromPort}` : `${fromPort}-${toPort}`;
  return `${range}/${protocol}`;
}

export function otherEndText({ cidr, group }: OtherEnd): string {
  return cidr ?? (group === undefined ? 'anybody' : `group ${group}`);
}

/** Whether both allow the same. */
export function sameRule(a: Rule, b: Rule): boolean {
  return ruleText(a) === ruleText(b);
}

/** `ingress 80/tcp from anybody`. */
export function ruleText(rule: Rule): string {
  const preposition = rule.direction === 'egress' ? 'to' : 'from';
  return `${rule.direction} ${trafficText(rule)} ${preposition} ${otherEndText(rule)}`;
}
