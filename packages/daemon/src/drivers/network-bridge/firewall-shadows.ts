// Finds base chains of others at the hooks forward and input that drop, by their policy or by a rule that matches everything, what our guests
// send, unless they have a rule for our bridges. Reads nft's JSON listing; a guess on the safe side, for people to read. Pure.

/** A chain of somebody else that drops what ours let pass, and what to do about it. */
export interface Shadow {
  readonly table: string;
  readonly why: string;
  readonly hint: string;
}

interface JsonChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

interface JsonRule {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly expr?: readonly Readonly<Record<string, unknown>>[];
}

interface JsonEntry {
  readonly chain?: JsonChain;
  readonly rule?: JsonRule;
}

const guestHooks = { forward: 'pass on', input: 'accept' } as const;
type GuestHook = keyof typeof guestHooks;

/** `ours`: the name of our own tables. */
export function findShadows(text: string, bridges: readonly string[], ours: string): Shadow[] {
  if (bridges.length === 0) return [];
  const entries = (JSON.parse(text) as { nftables?: readonly JsonEntry[] }).nftables ?? [];
  const rulesBy = new Map<string, JsonRule[]>();
  for (const { rule } of entries) {
    if (rule === undefined) continue;
    const key = chainKey(rule, rule.chain);
    rulesBy.set(key, [...(rulesBy.get(key) ?? []), rule]);
  }
  return entries.flatMap(({ chain }) => {
    if (chain === undefined || chain.table === ours || chain.family === 'netdev') return [];
    const hook = chain.hook;
    if (hook !== 'forward' && hook !== 'input') return [];
    const how = dropsBy(chain, rulesBy);
    if (how === undefined) return [];
    const unnamed = bridges.filter((bridge) => !isNamed(chain, rulesBy, bridge));
    const [bridge] = unnamed;
    if (bridge === undefined) return [];
    const table = `${chain.family} ${chain.table}`;
    return [
      {
        table,
        why: `Chain ${chain.name} of table ${table} (hook ${hook}) drops ${how}, and has no rule for ${unnamed.join(', ')}.`,
        hint: hintFor(chain, hook, bridge),
      },
    ];
  });
}

function chainKey({ family, table }: Pick<JsonChain, 'family' | 'table'>, chain: string): string {
  return `${family} ${table} ${chain}`;
}

function dropsBy(chain: JsonChain, rulesBy: ReadonlyMap<string, readonly JsonRule[]>): string | undefined {
  if (chain.policy === 'drop') return 'by its policy';
  const rules = rulesBy.get(chainKey(chain, chain.name)) ?? [];
  const drops = rules.some(({ expr = [] }) => expr.every(isNoMatch) && expr.some(isDrop));
  return drops ? 'by a rule for everything' : undefined;
}

function isNoMatch(expression: Readonly<Record<string, unknown>>): boolean {
  return ['counter', 'log', 'comment', 'drop', 'reject', 'limit'].some((key) => key in expression);
}

function isDrop(expression: Readonly<Record<string, unknown>>): boolean {
  return 'drop' in expression || 'reject' in expression;
}

/** Whether the chain, or one that it leads to, has a rule for the bridge that drops nothing. */
function isNamed(
  chain: JsonChain,
  rulesBy: ReadonlyMap<string, readonly JsonRule[]>,
  bridge: string,
): boolean {
  const seen = new Set<string>();
  const queue = [chain.name];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    for (const { expr = [] } of rulesBy.get(chainKey(chain, name)) ?? []) {
      if (!expr.some(isDrop) && expr.some((each) => matchesInterface(each, bridge))) return true;
      queue.push(...expr.flatMap(targetsOf));
    }
  }
  return false;
}

function matchesInterface(expression: Readonly<Record<string, unknown>>, bridge: string): boolean {
  const match = expression['match'] as { op?: string; left?: unknown; right?: unknown } | undefined;
  const key = (match?.left as { meta?: { key?: string } } | undefined)?.meta?.key;
  if (match === undefined || match.op !== '==' || key !== 'iifname') return false;
  const set = (match.right as { set?: unknown } | null)?.set;
  const words: readonly unknown[] = Array.isArray(set) ? set : [match.right];
  return words.some((word) => {
    if (typeof word !== 'string') return false;
    return word.endsWith('*') ? bridge.startsWith(word.slice(0, -1)) : word === bridge;
  });
}

function targetsOf(expression: Readonly<Record<string, unknown>>): string[] {
  const targets: string[] = [];
  for (const key of ['jump', 'goto']) {
    const target = (expression[key] as { target?: unknown } | undefined)?.target;
    if (typeof target === 'string') targets.push(target);
  }
  return targets;
}

function hintFor({ family, table, name }: JsonChain, hook: GuestHook, bridge: string): string {
  if (table === 'firewalld')
    return `firewall-cmd --zone=trusted --add-interface=${bridge} (and once more with --permanent)`;
  if ((family === 'ip' || family === 'ip6') && table === 'filter') {
    const program = family === 'ip' ? 'iptables' : 'ip6tables';
    if (hook === 'forward')
      return `With Docker: ${program} -I DOCKER-USER -i ${bridge} -j ACCEPT, and the same with -o. With ufw: ufw route allow in on ${bridge}. Else: ${program} -I FORWARD -i ${bridge} -j ACCEPT, and the same with -o.`;
    return `With ufw: ufw allow in on ${bridge}. Else: ${program} -I INPUT -i ${bridge} -j ACCEPT`;
  }
  return `nft insert rule ${family} ${table} ${name} iifname ${bridge} accept${hook === 'forward' ? `, and the same with oifname` : ''}`;
}
